import { expect } from 'chai';
import { createRealEnvironment } from '../../lib/env/real-environment.ts';
import { TransportError } from '../../lib/env/transport.ts';
import { rejectionOf } from './rejection.ts';

describe('createRealEnvironment', () => {
  it('makes a world of its own, whose transport closes alone', async () => {
    const one = createRealEnvironment();
    const other = createRealEnvironment();
    const request = { method: 'GET', target: '/', headers: {} };
    await one.transport.close();
    expect((await rejectionOf(one.transport.request('http://127.0.0.1:1', request))).message).to.contain('is closed');
    const error = await rejectionOf(other.transport.request('http://127.0.0.1:1', request));
    expect(error).to.be.instanceOf(TransportError);
    expect(error.message).to.contain('ECONNREFUSED');
    await other.transport.close();
  });
});
