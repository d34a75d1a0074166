import { expect } from 'chai';
import { type RoleEvent, type RoleState, servesReads, transition } from '../../lib/role/role-machine.ts';

const STATES: readonly RoleState[] = ['starting', 'primary', 'bootstrapping', 'following', 'diverged', 'stopping', 'failed'];
const EVENTS: readonly RoleEvent[] = ['recovered-as-primary', 'recovered-as-replica', 'recovered-without-data', 'snapshot-installed', 'position-gone', 'history-diverged', 'stop-requested', 'fault'];

/** Every transition there is: `state event → state effects`. What isn't here must be refused. */
const TABLE = new Map(
  `
  starting recovered-as-primary → primary take-writes
  starting recovered-as-replica → following start-receiver
  starting recovered-without-data → bootstrapping bootstrap
  bootstrapping snapshot-installed → following start-receiver
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
    expect(STATES.filter(servesReads)).to.deep.equal(['primary', 'following', 'stopping']);
  });

  it('has no way back to primary, and none from failed', () => {
    for (const [from, { state }] of TABLE) {
      if (state === 'primary') expect(from).to.match(/^starting /);
      if (from.startsWith('failed ')) expect(state).to.equal('failed');
    }
  });
});
