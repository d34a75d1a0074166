import { expect } from 'chai';
import { type RoleEvent, type RoleState, servesReads, transition } from '../../lib/role/role-machine.ts';

const STATES: readonly RoleState[] = ['starting', 'primary', 'handing-over', 'handed-over', 'bootstrapping', 'following', 'promised', 'fenced', 'diverged', 'stopping', 'failed'];
const EVENTS: readonly RoleEvent[] = [
  'recovered-as-primary', 'recovered-as-replica', 'recovered-without-data', 'recovered-handed-over', 'recovered-promised', 'snapshot-installed', 'snapshot-installed-promised',
  'position-gone', 'history-diverged', 'handover-begun', 'handover-failed', 'epoch-ended', 'promised', 'released', 'released-handed-over', 'epoch-opened', 'superseded',
  'primary-found', 'reseed', 'rejoin-allowed', 'stop-requested', 'fault',
];

/** Every transition there is: `state event → state effects`. What isn't here must be refused. */
const TABLE = new Map(
  `
  starting recovered-as-primary → primary take-writes
  starting recovered-as-replica → following start-receiver
  starting recovered-without-data → bootstrapping bootstrap
  starting recovered-handed-over → handed-over
  starting recovered-promised → promised
  starting history-diverged → diverged
  starting superseded → fenced drop-followers
  starting primary-found → following start-receiver
  primary handover-begun → handing-over
  primary superseded → fenced drop-followers
  handing-over handover-failed → primary take-writes
  handing-over epoch-ended → handed-over
  handing-over superseded → fenced drop-followers
  handing-over epoch-opened → primary take-writes
  handed-over epoch-opened → primary take-writes
  handed-over promised → promised
  handed-over primary-found → following start-receiver
  handed-over superseded → fenced drop-followers
  handed-over history-diverged → diverged
  bootstrapping superseded → fenced drop-followers
  following promised → promised stop-receiver
  following epoch-opened → primary stop-receiver take-writes
  following primary-found → following stop-receiver start-receiver
  following superseded → fenced stop-receiver drop-followers
  promised released → following start-receiver
  promised released-handed-over → handed-over
  promised primary-found → following start-receiver
  promised epoch-opened → primary take-writes
  promised superseded → fenced drop-followers
  promised history-diverged → diverged
  fenced primary-found → following start-receiver
  fenced reseed → bootstrapping bootstrap
  fenced epoch-opened → primary take-writes
  fenced history-diverged → diverged
  fenced superseded → fenced
  diverged rejoin-allowed → fenced drop-followers
  diverged superseded → fenced drop-followers
  diverged primary-found → following start-receiver
  diverged epoch-opened → primary take-writes
  handing-over stop-requested → stopping stop-serving
  handed-over stop-requested → stopping stop-serving
  promised stop-requested → stopping stop-serving
  fenced stop-requested → stopping stop-serving
  handing-over fault → failed stop-serving
  handed-over fault → failed stop-serving
  promised fault → failed stop-serving
  fenced fault → failed stop-serving
  bootstrapping snapshot-installed → following start-receiver
  bootstrapping snapshot-installed-promised → promised
  bootstrapping history-diverged → diverged
  following position-gone → bootstrapping stop-receiver bootstrap
  following history-diverged → diverged stop-receiver
  starting stop-requested → stopping stop-serving
  primary stop-requested → stopping stop-serving
  bootstrapping stop-requested → stopping stop-serving
  following stop-requested → stopping stop-serving
  diverged stop-requested → stopping stop-serving
  stopping stop-requested → stopping
  failed stop-requested → failed
  starting fault → failed stop-serving
  primary fault → failed stop-serving
  bootstrapping fault → failed stop-serving
  following fault → failed stop-serving
  diverged fault → failed stop-serving
  stopping fault → failed stop-serving
  failed fault → failed
  `
    .trim()
    .split('\n')
    .map((line) => {
      const [from, to] = line.trim().split(' → ');
      const [state, ...effects] = to!.split(' ');
      return [from!, { state: state as RoleState, effects }] as const;
    }),
);

describe('the role machine', () => {
  for (const state of STATES) {
    for (const event of EVENTS) {
      const expected = TABLE.get(`${state} ${event}`);
      it(expected === undefined ? `refuses ${event} while ${state}` : `goes from ${state} to ${expected.state} on ${event}`, () => {
        if (expected === undefined) expect(() => transition(state, event)).to.throw(`the event ${event} has no meaning while ${state}`);
        else expect(transition(state, event)).to.deep.equal(expected);
      });
    }
  }

  it('serves reads exactly where there is a consistent state that may be shown', () => {
    expect(STATES.filter(servesReads)).to.deep.equal(['primary', 'handing-over', 'handed-over', 'following', 'promised', 'stopping']);
  });

  it('has no way to primary but recovery, an opened epoch and a handover that did not begin, and none from failed', () => {
    for (const [from, { state }] of TABLE) {
      if (state === 'primary') expect(from).to.match(/^starting recovered-as-primary$| epoch-opened$|^handing-over handover-failed$/);
      if (from.startsWith('failed ')) expect(state).to.equal('failed');
    }
  });
});
