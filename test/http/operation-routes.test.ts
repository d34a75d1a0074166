import { expect } from 'chai';
import { TestServer, rawProblemOf } from './test-server.ts';

describe('POST /promote', () => {
  let server: TestServer;
  beforeEach(async () => {
    server = await TestServer.start();
  });
  afterEach(async () => {
    await server.stop();
  });

  function promote(body: string): ReturnType<TestServer['raw']> {
    return server.raw(`POST /promote HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  }

  it('hands on what is wanted, and up to which kind', async () => {
    expect((await promote(''))!.status).to.equal(200);
    expect((await promote('{"force":true,"acceptLoss":12,"dryRun":true,"expectKind":"forced"}'))!.status).to.equal(200);
    expect(server.node.promotions).to.deep.equal([
      { force: false, isDryRun: false, acceptLoss: null, expectKind: undefined },
      { force: true, isDryRun: true, acceptLoss: 12, expectKind: 'forced' },
    ]);
  });

  for (const body of ['{"expectKind":"gently"}', '{"expectKind":null}', '{"expectKind":1}', '{"force":"yes"}', '{"acceptLoss":-1}', '{"haste":true}']) {
    it(`refuses ${body}`, async () => {
      rawProblemOf(await promote(body), 400, 'bad-request');
      expect(server.node.promotions).to.deep.equal([]);
    });
  }
});
