import { expect } from 'chai';
import { assert, property, string } from 'fast-check';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { PassThrough, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { printable } from '../../lib/observe/printable.ts';
import { createLogger, type LogFormat, type LoggerOptions, type NodeLogger } from '../../lib/observe/winston-logger.ts';

/** All that could end a line, move a cursor or turn text around. */
const HOSTILE = ['\n', '\r', '\u001b[31m', '\u0000', '\u007f', '\u0085', '\u009b31m', '\u2028', '\u2029', '\u202e', '\u2066', '\ufeff'];
const UNSAFE = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202e\u2066\ufeff]/;

describe('printable', () => {
  it('leaves no character that ends a line or steers a terminal, and every other as it is', () => {
    assert(
      property(string({ unit: 'binary' }), (original) => {
        const escaped = printable(original);
        expect(escaped).not.to.match(UNSAFE);
        expect(escaped).not.to.contain('\n');
        if (escaped === original) return;
        expect(escaped.length).to.be.greaterThan(original.length);
      }),
    );
    expect(printable('grün 😀 “quoted” \\ tab-free')).to.equal('grün 😀 “quoted” \\ tab-free');
    expect(printable('a\nb\u001bc\u2028d')).to.equal('a\\u000ab\\u001bc\\u2028d');
  });
});

describe('createLogger', () => {
  it('writes one line for eyes', async () => {
    const lines = await linesOf('human', ({ logger }) => logger.info('the stream is open', { follower: 'replica-1', lagMs: 12, ok: true }));
    expect(lines).to.have.length(1);
    expect(lines[0]).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info {2}primary {2}the stream is open follower=replica-1 lagMs=12 ok=true$/);
  });

  it('writes one JSON object per line', async () => {
    const lines = await linesOf('json', ({ logger }) => logger.warn('slow sync', { seconds: 1.5, path: null, gone: undefined }));
    expect(lines).to.have.length(1);
    const entry = JSON.parse(lines[0]!) as Record<string, unknown>;
    expect(entry['time']).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    delete entry['time'];
    expect(entry).to.deep.equal({ level: 'warn', node: 'primary', message: 'slow sync', seconds: 1.5, path: null });
  });

  for (const format of ['human', 'json'] as const) {
    it(`lets no message, field, field name or node name forge or steer a ${format} line`, async () => {
      for (const hostile of HOSTILE) {
        const lines = await linesOf(
          format,
          ({ logger }) => logger.error(`before${hostile}after`, { field: `x${hostile}y`, [`n${hostile}m`]: 1 }),
          { name: `node${hostile}` },
        );
        expect(lines, JSON.stringify(hostile)).to.have.length(1);
        expect(lines[0]).not.to.match(UNSAFE);
      }
    });
  }

  it('keeps hostile text intact behind the escapes of JSON', async () => {
    const message = HOSTILE.join('|');
    const [line] = await linesOf('json', ({ logger }) => logger.info(message));
    expect((JSON.parse(line!) as { message: string }).message).to.equal(message);
  });

  it('quotes values in which it would be unclear where they end', async () => {
    const [line] = await linesOf('human', ({ logger }) => logger.info('m', { spaced: 'a b', quoted: 'a"b', empty: '', forged: 'x level=error' }));
    expect(line).to.match(/ m spaced="a b" quoted="a\\"b" empty="" forged="x level=error"$/);
  });

  it('does not let a field stand in for the time, level, node or message of its line', async () => {
    const [line] = await linesOf('json', ({ logger }) => logger.info('m', { level: 'error', time: 'never', node: 'other', message: 'n' }));
    expect(JSON.parse(line!)).to.include({ level: 'info', node: 'primary', message: 'm', 'fields.level': 'error', 'fields.time': 'never' });
  });

  it('drops what is below the level, which can change at any time', async () => {
    const lines = await linesOf(
      'human',
      ({ logger, setLevel }) => {
        for (const level of ['warn', 'debug', 'error'] as const) {
          setLevel(level);
          for (const each of ['debug', 'info', 'warn', 'error'] as const) logger[each](`${each} at ${level}`);
        }
      },
      { level: 'info' },
    );
    expect(lines.map((line) => line.split('  ').at(-1))).to.deep.equal([
      'warn at warn',
      'error at warn',
      'debug at debug',
      'info at debug',
      'warn at debug',
      'error at debug',
      'error at error',
    ]);
  });

  it('uses colours on a terminal only, and not where NO_COLOR is set', async () => {
    const before = process.env['NO_COLOR'];
    try {
      const colored = async (isTTY: boolean, noColor: string | undefined): Promise<boolean> => {
        if (noColor === undefined) delete process.env['NO_COLOR'];
        else process.env['NO_COLOR'] = noColor;
        const destination = Object.assign(new PassThrough(), { isTTY });
        const [line] = await linesOf('human', ({ logger }) => logger.info('m', { key: 1 }), {}, destination);
        return line!.includes('\u001b[');
      };
      expect(await colored(true, undefined)).to.equal(true);
      expect(await colored(true, '')).to.equal(true);
      expect(await colored(true, '1')).to.equal(false);
      expect(await colored(false, undefined)).to.equal(false);
    } finally {
      if (before === undefined) delete process.env['NO_COLOR'];
      else process.env['NO_COLOR'] = before;
    }
  });

  it('closes only when a slow destination has taken every line', async () => {
    let lineCount = 0;
    const slow = new Writable({
      decodeStrings: false,
      write: (chunk: string, _encoding, next) => {
        setImmediate(() => {
          lineCount += chunk.split('\n').length - 1;
          next();
        });
      },
    });
    const { logger, close } = createLogger({ level: 'info', format: 'json', name: 'primary', destination: slow });
    for (let index = 0; index < 500; index += 1) logger.info(`line ${index}`);
    await close();
    expect(lineCount).to.equal(500);
    expect(slow.writableEnded).to.equal(false);
  });

  it('drops what is logged after it was closed, and can be closed twice', async () => {
    const lines = await linesOf('human', async ({ logger, close }) => {
      logger.info('before');
      await close();
      logger.info('after');
    });
    expect(lines.map((line) => line.split('  ').at(-1))).to.deep.equal(['before']);
  });

  it('survives a destination whose reader went away', async () => {
    const gone = new Writable({ write: (_chunk, _encoding, next) => next(new Error('EPIPE')) });
    const { logger, close } = createLogger({ level: 'info', format: 'json', name: 'primary', destination: gone });
    logger.info('one');
    await new Promise((resolve) => setImmediate(resolve));
    logger.info('two');
    await close();
    expect(gone.destroyed).to.equal(true);
  });

  it('keeps several loggers on one destination apart', async () => {
    const destination = new PassThrough();
    const one = createLogger({ level: 'info', format: 'json', name: 'one', destination });
    const two = createLogger({ level: 'error', format: 'json', name: 'two', destination });
    one.logger.info('m');
    two.logger.info('m');
    await one.close();
    two.logger.error('m');
    await two.close();
    destination.end();
    const nodes = (await text(destination)).trim().split('\n').map((line) => (JSON.parse(line) as { node: string }).node);
    expect(nodes).to.deep.equal(['one', 'two']);
  });

  it('has every line out before a process that closed it exits', () => {
    for (const format of ['human', 'json'] as const) {
      const { stderr, stdout, status } = runWithLogger(
        format,
        `for (let index = 0; index < 2000; index += 1) logger.info('line ' + index, { hostile: 'a\\nb\\u001b[31m\\u2028\\u009b' });
         await close();
         process.exit(7);`,
      );
      const lines = stderr.trimEnd().split('\n');
      expect(status).to.equal(7);
      expect(lines).to.have.length(2000);
      expect(lines.at(-1)).to.contain('line 1999');
      expect(stderr).not.to.match(UNSAFE);
      expect(stdout).to.equal('');
    }
  });

  it('gets its last words out also where the process dies without closing it', () => {
    const { stderr } = runWithLogger('json', "logger.info('one'); logger.error('the last words'); process.abort();");
    expect(stderr).to.contain('the last words');
  });

  it('does not hold the process open', () => {
    expect(runWithLogger('human', "logger.info('bye');")).to.include({ status: 0, signal: null });
  });

  function runWithLogger(format: LogFormat, body: string): SpawnSyncReturns<string> {
    const script = `
      import { createLogger } from ${JSON.stringify(import.meta.resolve('../../lib/observe/winston-logger.ts'))};
      const { logger, close } = createLogger({ level: 'info', format: '${format}', name: 'primary' });
      ${body}
    `;
    return spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', timeout: 15_000 });
  }

  async function linesOf(
    format: LogFormat,
    act: (nodeLogger: NodeLogger) => void | Promise<void>,
    options: Partial<LoggerOptions> = {},
    destination: PassThrough = new PassThrough(),
  ): Promise<string[]> {
    const nodeLogger = createLogger({ level: 'info', format, name: 'primary', destination, ...options });
    await act(nodeLogger);
    await nodeLogger.close();
    destination.end();
    return (await text(destination)).split('\n').slice(0, -1);
  }
});
