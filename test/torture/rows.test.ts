import { expect } from 'chai';

import { requires } from '../support/requires.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import type { RowResult } from './row.ts';
import { ROWS } from './rows.ts';
import { Workbench } from './workbench.ts';

/** About ten times what a row takes on two cores. */
const ROW_TIMEOUT_MS = 300_000;
const ACKNOWLEDGED_PER_ROUND_MIN = 200;

/** The whole of it is `npm run torture`; its figures are in RELIABILITY.md. */
describe('torture, a fifteenth of it', () => {
  for (const row of ROWS) {
    it(`${row.name}: ${row.rounds.short} × ${row.summary}: nothing is lost, nothing appears`, async function () {
      this.timeout(ROW_TIMEOUT_MS);
      requires(this, ...row.requirements);
      const seed = 1 + Math.floor(Math.random() * 1e9);
      const workbench = Workbench.open();
      let result: RowResult;
      try {
        result = await row.run({ rounds: row.rounds.short, random: new SeededRandom(seed), workbench, nodeEnvironment: process.env, onRound: () => {} });
        expect(result.findings, `seed ${seed}`).to.deep.equal([]);
      } catch (error) {
        process.stderr.write(`${row.name}, seed ${seed}: logs and data are kept in ${workbench.closeAndKeepFiles()}\n`);
        throw error;
      }
      workbench.close();
      expect(result.rounds).to.equal(row.rounds.short);
      expect(result.acknowledged).to.be.at.least(row.rounds.short * ACKNOWLEDGED_PER_ROUND_MIN);
    });
  }
});
