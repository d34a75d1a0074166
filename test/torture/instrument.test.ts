import { expect } from 'chai';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { requires } from '../support/requires.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { runCampaign } from './campaign.ts';
import { runFailoverCampaign } from './failover-campaign.ts';
import { plainDirectories } from './kill-primary.ts';
import { type RowContext, lostOf } from './row.ts';
import { syncOrder } from './sync-order.ts';
import { Workbench } from './workbench.ts';

/** Loaded before the node: from then on, no sync of a file's data happens, and all are reported as done. */
const WITHOUT_SYNC = `data:text/javascript,import fs from 'node:fs'; fs.fdatasync = (descriptor, done) => setImmediate(done, null);`;

/** That all rows are clean means something only if a loss would have been seen. */
describe('the torture rig itself', function () {
  this.timeout(120_000);
  let workbench: Workbench;

  beforeEach(() => {
    workbench = Workbench.open();
  });

  afterEach(() => workbench.close());

  it('finds the writes of a round lost when both nodes come back with the data of the round before', async () => {
    const directories = { primary: workbench.path('primary'), replica: workbench.path('replica') };
    const result = await runCampaign(
      { rounds: 2, random: new SeededRandom(1), workbench, nodeEnvironment: process.env, onRound: () => {} },
      {
        makeDirectories: plainDirectories(workbench),
        writersGoOn: false,
        strike: async ({ primary, replica }, round) => {
          await Promise.all([primary.kill(), replica.kill()]);
          for (const directory of Object.values(directories)) {
            if (round === 1) {
              cpSync(directory, `${directory}-before`, { recursive: true });
            } else {
              rmSync(directory, { recursive: true });
              cpSync(`${directory}-before`, directory, { recursive: true });
            }
          }
          return 'primary';
        },
        repair: async (cluster) => {
          await cluster.spawnPrimary().ready();
          await cluster.spawnReplica().ready();
        },
      },
    );
    expect(result.rounds).to.equal(2);
    expect(lostOf(result.findings)).to.be.above(100);
    expect(result.findings.every(({ detail }) => detail.startsWith('on the primary: '))).to.equal(true);
  });

  it('finds a node that answers without a sync', async function () {
    requires(this, ...syncOrder.requirements);
    const nodeEnvironment = { ...process.env, NODE_OPTIONS: `--import="${WITHOUT_SYNC}"` };
    const result = await syncOrder.run({ rounds: 1, random: new SeededRandom(1), workbench, nodeEnvironment, onRound: () => {} });
    expect(result.findings.length).to.equal(result.acknowledged).and.to.be.above(200);
    expect(result.findings[0]!.detail).to.equal('no sync came after its frame');
  });

  it('finds acknowledged writes lost that only a salvage file has, where a failover may leave none behind', async () => {
    const result = await runFailoverCampaign(contextOf(), { ack: 'local', mayBeSetAside: false, isCutOff: () => true });
    expect(lostOf(result.findings)).to.equal(result.findings.length).and.to.be.above(10);
    expect(result.findings[0]!.detail).to.include('is only in a salvage file');
  });

  it('finds acknowledged writes lost where the salvage file is missing', async () => {
    const result = await runFailoverCampaign(contextOf(), {
      ack: 'local',
      mayBeSetAside: true,
      isCutOff: () => true,
      beforeJudging: ({ seats }) => {
        for (const { dataDirectory } of seats) rmSync(join(dataDirectory, 'salvage'), { recursive: true, force: true });
      },
    });
    expect(lostOf(result.findings)).to.equal(result.findings.length).and.to.be.above(10);
    expect(result.findings[0]!.detail).to.include('neither in the history nor in a salvage file');
  });

  function contextOf(): RowContext {
    return { rounds: 1, random: new SeededRandom(1), workbench, nodeEnvironment: process.env, onRound: () => {} };
  }
});
