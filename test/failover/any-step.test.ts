/**
 * "Killed at any step (old primary, target, another replica, the command itself), run twice, run against two
 * replicas at once: one primary or a clear refusal, and a second run finishes the job." The steps are those of
 * an undisturbed run: each node's calls that change its disk, each request between nodes, each event that the
 * command prints. Every story disturbs one of them, in a cluster of its own, under load.
 */
import { expect } from 'chai';
import { messageOf } from '../../lib/base/errors.ts';
import { type CommandEnd, type Course, type Crash, DisturbedCluster, NAMES, type Name, type OldPrimary, type Operation, assertClear } from './disturbed-cluster.ts';

const OPERATIONS: readonly Operation[] = ['switchover', 'failover'];

interface Ending {
  readonly title: string;
  readonly crash: Crash;
}

const KILLED_BEFORE: Ending = { title: 'is killed before', crash: { kind: 'kill', isEffective: false } };
const KILLED_AFTER: Ending = { title: 'is killed after', crash: { kind: 'kill', isEffective: true } };
const CUT_BEFORE: Ending = { title: 'loses its power before', crash: { kind: 'power-cut', isEffective: false } };
const CUT_AFTER: Ending = { title: 'loses its power after', crash: { kind: 'power-cut', isEffective: true } };

/** The two that are furthest apart: all but this call has happened, and nothing but it and what was synced. */
const OPPOSITES = [KILLED_BEFORE, CUT_AFTER];
const ALL = [KILLED_BEFORE, KILLED_AFTER, CUT_BEFORE, CUT_AFTER];

/** All for those that act. `c` only answers, and the old primary of a failover only rejoins, which is the longest course of all. */
function endingsOf(operation: Operation, victim: Name): { readonly back: readonly Ending[]; readonly away: readonly Ending[] } {
  if (victim === 'b' || operation === 'switchover') return { back: victim === 'c' ? OPPOSITES : ALL, away: OPPOSITES };
  return { back: OPPOSITES, away: victim === 'a' ? [] : OPPOSITES };
}

const TROUBLES: readonly { readonly title: string; readonly arrange: (cluster: DisturbedCluster, index: number) => void }[] = [
  { title: 'a request between the nodes is lost', arrange: (cluster, index) => cluster.spoilRequest(index, { refuse: true }) },
  { title: 'a request between the nodes is carried out, and its answer lost', arrange: (cluster, index) => cluster.spoilRequest(index, { loseAnswer: true }) },
  { title: 'all connections break when one node asks another', arrange: (cluster, index) => cluster.atRequest(index, () => cluster.breakConnections()) },
];

const RETURNS: readonly { readonly title: string; readonly oldPrimary: OldPrimary; readonly act: (cluster: DisturbedCluster) => void }[] = [
  { title: 'starts again', oldPrimary: 'dead', act: (cluster) => cluster.start('a') },
  { title: 'is heard by the target again', oldPrimary: 'cut off', act: (cluster) => cluster.join('a', 'b') },
  { title: 'is heard by the other replica again', oldPrimary: 'cut off', act: (cluster) => cluster.join('a', 'c') },
  { title: 'is heard by both again', oldPrimary: 'cut off', act: (cluster) => cluster.heal() },
];

describe('a promotion that is disturbed at any step', function () {
  this.timeout(60_000);

  for (const operation of OPERATIONS) {
    describe(`(${operation})`, () => {
      let course: Course;

      before(async () => {
        course = await undisturbed(operation);
      });

      for (const victim of NAMES) {
        const { back, away } = endingsOf(operation, victim);

        for (const { title, crash } of back) {
          it(`${victim} ${title} any change of its disk`, async () => {
            await each(course.changes[victim], operation, async (cluster, index) => {
              cluster.crashAt(victim, index, crash);
              expectEnded(await cluster.promote('b'), victim);
              await cluster.untilCrashed(victim);
              await cluster.untilSettled(operation);
              expectPromoted(await cluster.promote('b'));
              await cluster.comeToRest('b');
            });
          });
        }

        for (const { title, crash } of away) {
          it(`${victim} ${title} any change of its disk, and stays away for the second run`, async () => {
            await each(course.changes[victim], operation, async (cluster, index) => {
              cluster.crashAt(victim, index, { ...crash, staysAway: true });
              expectEnded(await cluster.promote('b'), victim);
              await cluster.untilCrashed(victim);
              expectPromotedOrWayOut(await cluster.promote(victim === 'b' ? 'c' : 'b'));
              await cluster.comeBack(victim);
              expectPromoted(await cluster.promote('b'));
              await cluster.comeToRest('b');
            });
          });
        }
      }

      for (const { title, arrange } of TROUBLES) {
        it(`${title}, whichever it is`, async () => {
          await each(course.requests, operation, async (cluster, index) => {
            arrange(cluster, index);
            expectEnded(await cluster.promote('b'));
            await cluster.waitForSecondLook();
            await cluster.untilSettled(operation);
            expectPromoted(await cluster.promote('b'));
            await cluster.comeToRest('b');
          });
        });
      }

      it('the client goes away after any event: the promotion goes on', async () => {
        await each(course.events, operation, async (cluster, index) => {
          await cluster.promoteAndLeave('b', index + 1);
          await cluster.untilPrimary('b');
          expectPromoted(await cluster.promote('b'), 'none');
          await cluster.comeToRest('b');
        });
      });

      it('it is run again on the same node at any event: the first one does it', async () => {
        await each(['at once', ...course.events], operation, async (cluster, index) => {
          let again: Promise<CommandEnd> | undefined;
          const runAgain = (eventCount: number): void => {
            if (eventCount === index) again = cluster.promoting('b');
          };
          const first = cluster.promoting('b', runAgain);
          runAgain(0);
          expectPromoted(await cluster.endOf(first), operation);
          const other = await cluster.endOf(again!);
          if (other.type === 'refused') expectToldToRunAgain(other);
          else expectPromoted(other, 'none');
          await cluster.comeToRest('b');
        });
      });

      it('it is run on the other replica at any request: one primary, or both are told to run it again', async () => {
        await each(course.requests, operation, async (cluster, index) => {
          let rival: Promise<CommandEnd> | undefined;
          cluster.atRequest(index, () => {
            rival = cluster.promoting('c');
          });
          const ofB = await cluster.promote('b');
          await cluster.untilRequest(index);
          await expectOnePrimary(cluster, ofB, await cluster.endOf(rival!), operation);
        });
      });

      it('it is run twice on both replicas, all at once: one primary, or all are told to run it again', async () => {
        await each(['at once'], operation, async (cluster) => {
          const [ofB, ofC, ...others] = [cluster.promoting('b'), cluster.promoting('c'), cluster.promoting('b'), cluster.promoting('c')];
          for (const other of others) expectToldToRunAgain(await cluster.endOf(other));
          await expectOnePrimary(cluster, await cluster.endOf(ofB), await cluster.endOf(ofC), operation);
        });
      });
    });
  }

  for (const { title, oldPrimary, act } of RETURNS) {
    it(`(failover) the old primary ${title} at any request`, async () => {
      const { requests } = await undisturbed('failover', oldPrimary);
      await each(requests, 'failover', async (cluster, index) => {
        cluster.atRequest(index, () => act(cluster));
        expectEnded(await cluster.promote('b'));
        await cluster.untilRequest(index);
        await cluster.waitForSecondLook();
        cluster.heal();
        await cluster.waitForSecondLook();
        await cluster.untilSettled('failover');
        expectPromoted(await cluster.promote('b'));
        await cluster.comeToRest('b');
      }, oldPrimary);
    });
  }

  /** Tells a story for each of `steps`; every one has to end well. */
  async function each(steps: readonly string[], operation: Operation, story: (cluster: DisturbedCluster, index: number) => Promise<void>, oldPrimary?: OldPrimary): Promise<void> {
    const failures: string[] = [];
    for (const [index, step] of steps.entries()) {
      const cluster = await DisturbedCluster.begin(operation, oldPrimary);
      try {
        await story(cluster, index);
      } catch (error) {
        failures.push(`step ${index}, ${step}: ${messageOf(error)}`);
      } finally {
        cluster.close();
      }
    }
    expect(failures, `${failures.length} of ${steps.length} stories did not end well`).to.deep.equal([]);
  }
});

async function undisturbed(operation: Operation, oldPrimary?: OldPrimary): Promise<Course> {
  const cluster = await DisturbedCluster.begin(operation, oldPrimary);
  expectPromoted(await cluster.promote('b'), operation);
  await cluster.untilInPlace('b');
  const { course } = cluster;
  await cluster.comeToRest('b');
  cluster.close();
  // Where less was counted, most of the steps would be left out.
  for (const file of ['promises.json', 'node.json', '/wal/']) expect(course.changes.b.join(), 'what b changes').to.contain(file);
  for (const name of NAMES) expect(course.changes[name].length, `changes of ${name}`).to.be.at.least(24);
  for (const path of ['/peer/state', operation === 'switchover' ? '/peer/handover' : '/peer/promise', '/wal', '/peer/confirm']) expect(course.requests.join(), 'requests').to.contain(path);
  expect(course.events).to.have.ordered.members(['plan', ...(operation === 'switchover' ? ['stopping-writes', 'catching-up'] : ['collecting-promises']), 'opening', 'announcing', 'promoted']);
  return course;
}

/** @param victim a command on this node may get no answer. */
function expectEnded(end: CommandEnd, victim?: Name): void {
  if (end.type === 'lost') expect(victim, 'the victim, since the command on b got no answer').to.equal('b');
  assertClear(end);
}

function expectPromoted(end: CommandEnd, kind?: Operation | 'none'): void {
  expect(end.type === 'refused' ? `${end.code}: ${end.message}` : end.type).to.equal('promoted');
  if (kind !== undefined) expect(end).to.include({ kind });
}

/** Where it is refused, it says what to run instead. */
function expectPromotedOrWayOut(end: CommandEnd): void {
  assertClear(end);
  expect(end.type).to.be.oneOf(['promoted', 'refused']);
  if (end.type === 'refused') expect(end.command, `way out of: ${end.message}`).to.be.a('string');
}

/** Where the second one began after the first had come to its end, it takes over from that one. */
async function expectOnePrimary(cluster: DisturbedCluster, ofB: CommandEnd, ofC: CommandEnd, operation: Operation): Promise<void> {
  const [numberOfB, numberOfC] = [epochNumberOf(ofB), epochNumberOf(ofC)];
  for (const end of [ofB, ofC]) {
    expectEnded(end);
    if (end.type === 'refused') expect(end.command ?? '', end.message).to.not.contain('--force');
  }
  if (numberOfB === 0 && numberOfC === 0) {
    for (const end of [ofB, ofC]) expectToldToRunAgain(end);
    // Each had promised itself, and so could not promise itself to the other one. Where a primary lives, it decides between the two.
    expect(operation).to.equal('failover');
    expectPromoted(await cluster.promote('b'), 'failover');
  }
  await cluster.comeToRest(numberOfC > numberOfB ? 'c' : 'b');
}

function epochNumberOf(end: CommandEnd): number {
  return end.type === 'promoted' ? end.epoch.number : 0;
}

function expectToldToRunAgain(end: CommandEnd): void {
  expect(end).to.include({ type: 'refused', code: 'promotion-under-way' });
  expect(end).to.have.property('command').that.matches(/^bin\/promote http:\/\/[bc]$/);
}
