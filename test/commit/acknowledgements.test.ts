import { expect } from 'chai';
import * as fc from 'fast-check';
import type { AckLevel } from '../../lib/base/ack-level.ts';
import { ShiplogError } from '../../lib/base/errors.ts';
import { Acknowledgements, type ReplicaLevel } from '../../lib/commit/acknowledgements.ts';
import { rejectionOf } from '../env/rejection.ts';
import { FakeClock } from '../support/fake-clock.ts';

const LATE = new ShiplogError('ack-timeout', 'too late');
const late = (): ShiplogError => LATE;

function underTest(...durable: (number | null)[]) {
  const clock = new FakeClock();
  const others = durable.map((durableLsn, index) => ({ nodeId: `n${index}`, durableLsn }));
  const acknowledgements = new Acknowledgements({ clock, others: () => others });
  const confirm = (index: number, durableLsn: number | null): void => {
    others[index] = { nodeId: `n${index}`, durableLsn };
    acknowledgements.noteChange();
  };
  return { clock, acknowledgements, others, confirm };
}

describe('Acknowledgements', () => {
  it('wait for as many as asked for, and say how many there were', async () => {
    const { acknowledgements, confirm } = underTest(0, 0, 0);
    const answers: string[] = [];
    for (const level of [1, 2, 'all'] as const) void acknowledgements.reached(5, level, 1_000, late).then((replicas) => answers.push(`${level} by ${replicas}`));
    confirm(0, 4);
    await Promise.resolve();
    expect(answers).to.deep.equal([]);
    confirm(0, 5);
    await Promise.resolve();
    expect(answers).to.deep.equal(['1 by 1']);
    confirm(2, 9);
    await Promise.resolve();
    expect(answers).to.deep.equal(['1 by 1', '2 by 2']);
    confirm(1, 5);
    await Promise.resolve();
    expect(answers).to.deep.equal(['1 by 1', '2 by 2', 'all by 3']);
    expect(acknowledgements.waiterCount).to.equal(0);
  });

  it('answer at once what is confirmed already, and ask nobody where there is nobody', async () => {
    expect(await underTest(7, 3).acknowledgements.reached(3, 2, 1_000, late)).to.equal(2);
    expect(await underTest().acknowledgements.reached(3, 'all', 1_000, late)).to.equal(0);
  });

  it('count nobody twice, and nobody who counts for nothing', async () => {
    const { clock, acknowledgements, confirm } = underTest(null, 0);
    const two = acknowledgements.reached(5, 2, 1_000, late);
    confirm(1, 100);
    confirm(1, 200);
    const outcome = rejectionOf(two);
    await clock.advance(1_000);
    expect(await outcome).to.equal(LATE);
    expect(acknowledgements.waiterCount).to.equal(0);
  });

  it('are judged again when a member leaves', async () => {
    const { acknowledgements, others } = underTest(9, null);
    const all = acknowledgements.reached(5, 'all', 1_000, late);
    others.pop();
    acknowledgements.noteChange();
    expect(await all).to.equal(1);
  });

  it('end together, but for those for whom it is enough who has everything', async () => {
    const { acknowledgements } = underTest(0, 0);
    const one = acknowledgements.reached(5, 1, 1_000, late);
    const two = rejectionOf(acknowledgements.reached(6, 2, 1_000, late));
    const all = rejectionOf(acknowledgements.reached(7, 'all', 1_000, late));
    acknowledgements.release((lsn) => new ShiplogError('outcome-unknown', `at ${lsn}`), 1);
    expect(await one).to.equal(1);
    expect([(await two).message, (await all).message]).to.deep.equal(['at 6', 'at 7']);
    expect(acknowledgements.waiterCount).to.equal(0);
  });

  it('answer everybody exactly when enough have everything, whatever the order', () => {
    const confirmation = fc.tuple(fc.nat({ max: 2 }), fc.option(fc.nat({ max: 12 })));
    const wait = fc.tuple(fc.nat({ max: 12 }), fc.constantFrom<ReplicaLevel>(1, 2, 3, 'all'));
    fc.assert(
      fc.property(fc.array(fc.oneof(confirmation.map((each) => ({ confirmation: each })), wait.map((each) => ({ wait: each }))), { maxLength: 40 }), (steps) => {
        const { acknowledgements, others, confirm } = underTest(0, 0, 0);
        const waiting: { lsn: number; needed: number }[] = [];
        const isDue = ({ lsn, needed }: { lsn: number; needed: number }): boolean => others.filter(({ durableLsn }) => durableLsn !== null && durableLsn >= lsn).length >= needed;
        for (const step of steps) {
          if ('wait' in step) {
            const [lsn, level] = step.wait;
            void acknowledgements.reached(lsn, level, 1_000, late);
            waiting.push({ lsn, needed: level === 'all' ? 3 : level });
          } else {
            confirm(...step.confirmation);
          }
          for (const each of waiting.filter(isDue)) waiting.splice(waiting.indexOf(each), 1);
          expect(acknowledgements.waiterCount).to.equal(waiting.length);
        }
      }),
    );
  });

  describe('before anything is stored', () => {
    const admit = (durable: (number | null)[], asked: AckLevel | undefined, ackDefault: AckLevel = 'local', ackMinimum: AckLevel = 'memory'): AckLevel =>
      underTest(...durable).acknowledgements.admit(asked, { ackDefault, ackMinimum });
    const codeOf = (work: () => unknown): string => {
      try {
        work();
      } catch (error) {
        return (error as ShiplogError).code;
      }
      return 'none';
    };

    it('take the default where nothing is asked for, and the minimum where less is', () => {
      expect(admit([], undefined)).to.equal('local');
      expect(admit([], 'memory')).to.equal('memory');
      expect(admit([], 'memory', 'local', 'local')).to.equal('local');
      expect(admit([0, 0], 'local', 'local', 1)).to.equal(1);
      expect(admit([0, 0], 2, 'local', 1)).to.equal(2);
      expect(admit([0, 0], 'all', 'local', 1)).to.equal('all');
    });

    it('refuse more than there are members, whoever is away', () => {
      expect(codeOf(() => admit([0], 2))).to.equal('too-few-members');
      expect(admit([null], 1), 'may come back in time').to.equal(1);
    });

    it('refuse where fewer replicas than the minimum could confirm', () => {
      expect(codeOf(() => admit([null, null], undefined, 'local', 1))).to.equal('too-few-replicas');
      expect(codeOf(() => admit([0, null], undefined, 'local', 'all'))).to.equal('too-few-replicas');
      expect(codeOf(() => admit([], undefined, 'local', 1))).to.equal('too-few-replicas');
      expect(codeOf(() => admit([], undefined, 1))).to.equal('too-few-replicas');
      expect(admit([null, 0], undefined, 'local', 1)).to.equal(1);
    });
  });
});
