import { expect } from 'chai';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ShiplogError } from '../../lib/base/errors.ts';
import { type ServeInput, type ServedNode, serveNode } from '../../lib/cli/serve-node.ts';
import type { Config } from '../../lib/config/schema.ts';
import { type TestContext, createTestContext, until } from './test-context.ts';

describe('serveNode', () => {
  let context: TestContext;
  let calls: string[];
  let applied: Config[];
  let failed: PromiseWithResolvers<Error>;
  let input: ServeInput | undefined;

  beforeEach(() => {
    context = createTestContext();
    calls = [];
    applied = [];
    failed = Promise.withResolvers();
  });

  const start = async (given: ServeInput): Promise<ServedNode> => {
    input = given;
    calls.push('start');
    return {
      url: 'http://127.0.0.1:4455',
      role: 'primary',
      applyConfig: (config) => applied.push(config),
      stop: async () => void calls.push('stop'),
      failed: failed.promise,
    };
  };

  function serve(flags: Readonly<Record<string, unknown>> = {}, more: { file?: string; start?: (input: ServeInput) => Promise<ServedNode> } = {}): Promise<void> {
    return serveNode(context, {
      input: { file: more.file, environment: {}, flags },
      start: more.start ?? start,
      hostName: 'host-7',
      pid: 1,
      parentLine: context.stdin,
    });
  }

  const isReady = (): boolean => context.said.stdout.includes('is ready at http://127.0.0.1:4455\n');

  it('says when the node is ready, and stops it once at a signal', async () => {
    const serving = serve({ name: 'n1' });
    await until(isReady);
    expect(context.said.stdout).to.equal('n1 is ready at http://127.0.0.1:4455\n');
    context.signal();
    await serving;
    expect(calls).to.deep.equal(['start', 'stop']);
    expect(context.exitCode).to.equal(undefined);
  });

  it('names a node without a name after host and port', async () => {
    const serving = serve({ port: '4466' });
    await until(isReady);
    expect(input!.name).to.equal('host-7-4466');
    context.signal();
    await serving;
  });

  it('stops when the parent process closes the line', async () => {
    const serving = serve();
    await until(isReady);
    context.stdin.end();
    await serving;
    expect(calls).to.deep.equal(['start', 'stop']);
  });

  it('leaves a start that takes long when it is asked to stop', async () => {
    const serving = serve({}, { start: () => new Promise(() => {}) });
    context.signal();
    await serving.then(
      () => expect.fail('expected the process to end at once'),
      (error: Error) => expect(error.message).to.equal('exited at once: ok'),
    );
  });

  for (const [code, exitCode] of [
    ['data-directory-in-use', 68],
    ['log-damaged', 66],
    ['port-in-use', 69],
    ['data-directory-invalid', 70],
  ] as const) {
    it(`logs a start that fails with ${code} and exits with ${exitCode}`, async () => {
      await serve({}, { start: () => Promise.reject(new ShiplogError(code, 'what happened')) });
      expect(context.exitCode).to.equal(exitCode);
      expect(JSON.parse(context.said.stderr.split('\n')[0]!)).to.include({ level: 'error', message: 'what happened' });
      expect(context.said.stdout).to.equal('');
    });
  }

  it('stops a node that can not go on, and exits with its reason', async () => {
    const serving = serve();
    await until(isReady);
    failed.resolve(new ShiplogError('log-poisoned', 'a sync failed'));
    await serving;
    expect(context.exitCode).to.equal(67);
    expect(calls).to.deep.equal(['start', 'stop']);
  });

  it('refuses a wrong configuration before it starts anything', async () => {
    const error = await serve({ port: 'x' }).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(error).to.be.instanceOf(ShiplogError).with.property('code', 'bad-config');
    expect(calls).to.deep.equal([]);
  });

  it('hands changes of the file to the node and the logger', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'shiplog-serve-'));
    try {
      const file = join(directory, 'node.json');
      await writeFile(file, '{}');
      const serving = serve({}, { file });
      await until(isReady);
      await writeFile(file, '{"readyLagMs": "1s", "port": 5000}');
      await until(() => applied.length > 0 && context.said.stderr.includes('needs a restart'));
      expect(applied[0]).to.include({ readyLagMs: 1_000, port: 4455 });
      await writeFile(file, '{"readyLagMs": "soon"}');
      await until(() => context.said.stderr.includes('readyLagMs is \\"soon\\"'));
      context.signal();
      await serving;
      expect(applied).to.have.lengthOf(1);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
