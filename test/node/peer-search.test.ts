import { expect } from 'chai';
import { type Transport, TransportError } from '../../lib/env/transport.ts';
import { findUpstream } from '../../lib/node/peer-search.ts';
import { SILENT_LOGGER } from '../../lib/observe/logger.ts';
import { FakeClock } from '../support/fake-clock.ts';

const CLUSTER = 'ab'.repeat(16);

/** Peers by URL: the document of `/status`, or 'down', or 'silent'; also of nodes that are not among the peers. */
function search(peers: Readonly<Record<string, unknown>>, others: Readonly<Record<string, unknown>> = {}): { found: Promise<string>; clock: FakeClock } {
  const clock = new FakeClock();
  const transport: Transport = {
    request: (url, request) => {
      const answer = peers[url] ?? others[url];
      if (answer === undefined) return Promise.reject(new TransportError(`${url} refused`, { mayHaveArrived: false }));
      if (answer === 'down') return Promise.reject(new TransportError(`${url} refused`, { mayHaveArrived: false }));
      if (answer === 'silent') {
        return new Promise((_resolve, reject) => {
          request.signal!.addEventListener('abort', () => reject(new TransportError('aborted', { cause: request.signal!.reason, mayHaveArrived: true })));
        });
      }
      return Promise.resolve({ status: 200, headers: {}, body: once(JSON.stringify(answer)) });
    },
    close: async () => {},
  };
  return { found: findUpstream(Object.keys(peers), { transport, clock, logger: SILENT_LOGGER }), clock };
}

async function* once(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

describe('the search for a cluster among peers', () => {
  const primary = { clusterId: CLUSTER, role: 'primary', upstream: null };
  const replica = { clusterId: CLUSTER, role: 'replica', upstream: { url: 'http://p' } };
  const empty = { clusterId: null, role: 'replica', upstream: null };

  it('ends at the primary, whoever else answers', async () => {
    expect(await search({ 'http://r': replica, 'http://x': 'down', 'http://p': primary }).found).to.equal('http://p');
  });

  it('takes the upstream of a replica where the primary is not among the peers', async () => {
    expect(await search({ 'http://e': empty, 'http://r': replica }, { 'http://p': primary }).found).to.equal('http://p');
  });

  it('does not wait for ever for a peer that says nothing', async () => {
    const { found, clock } = search({ 'http://s': 'silent', 'http://r': replica }, { 'http://p': primary });
    expect(await clock.until(found)).to.equal('http://p');
  });

  it('takes a replica where its upstream does not answer: that may be gone, or be the very node that asks', async () => {
    expect(await search({ 'http://e': empty, 'http://r': replica }, { 'http://p': 'down' }).found).to.equal('http://r');
    expect(await search({ 'http://e': empty, 'http://r': replica }, { 'http://p': empty }).found).to.equal('http://r');
  });

  it('finds nothing among peers without data, and names the way out: an unmounted disk must not found a second cluster', async () => {
    const { found, clock } = search({ 'http://e': empty, 'http://x': 'down', 'http://s': 'silent' });
    const error = await clock.until(found.then(() => undefined, (reason: Error) => reason));
    expect(error).to.include({ code: 'no-primary' });
    expect(error!.message).to.contain('http://e, http://x, http://s').and.to.contain('--new-cluster');
  });
});
