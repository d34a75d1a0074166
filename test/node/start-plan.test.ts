import { expect } from 'chai';
import { type StartFacts, type StartPlan, planStart } from '../../lib/node/start-plan.ts';

const nothing: StartFacts = { hasData: false, storedRole: null, storedUpstreamUrl: null, storedFollow: null, follow: undefined, peers: [], isNewCluster: false };
const asPrimary = { hasData: true, storedRole: 'primary' } as const;
const asReplica = { hasData: true, storedRole: 'replica', storedUpstreamUrl: 'http://old' } as const;

describe('planStart', () => {
  const cases: readonly (readonly [string, Partial<StartFacts>, StartPlan])[] = [
    ['founds a cluster where nothing says otherwise', {}, { kind: 'found' }],
    ['joins the one it is told to follow', { follow: 'http://p' }, { kind: 'join', upstreamUrl: 'http://p' }],
    ['asks its peers before it founds anything', { peers: ['http://p'] }, { kind: 'ask-peers', peers: ['http://p'] }],
    ['founds a cluster beside its peers only when told to', { peers: ['http://p'], isNewCluster: true }, { kind: 'found' }],
    ['follows rather than asks', { peers: ['http://a'], follow: 'http://p' }, { kind: 'join', upstreamUrl: 'http://p' }],
    ['stays primary, whatever the configuration says', { ...asPrimary, follow: 'http://p' }, { kind: 'open-primary', isFollowIgnored: true }],
    ['stays primary with peers', { ...asPrimary, peers: ['http://p'] }, { kind: 'open-primary', isFollowIgnored: false }],
    ['follows whom it followed', asReplica, { kind: 'open-replica', upstreamUrl: 'http://old' }],
    ['follows whom it is told to follow now', { ...asReplica, follow: 'http://new' }, { kind: 'open-replica', upstreamUrl: 'http://new' }],
    ['does not go back to the one that an unchanged configuration names', { ...asReplica, storedFollow: 'http://gone', follow: 'http://gone' }, { kind: 'open-replica', upstreamUrl: 'http://old' }],
    ['goes on with a bootstrap that was interrupted', { storedRole: 'replica', storedUpstreamUrl: 'http://old' }, { kind: 'join', upstreamUrl: 'http://old' }],
    ['never founds a cluster where it was a replica, even when told to', { storedRole: 'replica', storedUpstreamUrl: 'http://old', isNewCluster: true }, { kind: 'join', upstreamUrl: 'http://old' }],
    ['founds again where founding was interrupted', { storedRole: 'primary' }, { kind: 'found' }],
  ];
  for (const [title, facts, plan] of cases) {
    it(title, () => expect(planStart({ ...nothing, ...facts })).to.deep.equal(plan));
  }

  it('refuses data of a replica that nobody tells whom to follow', () => {
    expect(() => planStart({ ...nothing, ...asReplica, storedUpstreamUrl: null })).to.throw('set follow').with.property('code', 'bad-config');
  });
});
