import { expect } from 'chai';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ShiplogError } from '../../lib/base/errors.ts';
import { type ConfigInput, composeConfig, loadConfig } from '../../lib/config/load.ts';
import { OPTIONS, OPTION_NAMES, flagOf, isLoopback, variableOf } from '../../lib/config/schema.ts';
import { RealDisk } from '../../lib/env/real-disk.ts';

const nothing: ConfigInput = { environment: {}, flags: {} };

describe('configuration', () => {
  it('has defaults that are acceptable by themselves', () => {
    const { values, sources } = composeConfig(nothing, undefined);
    expect(values).to.include({ host: '127.0.0.1', port: 4455, segmentBytes: 64 * 1024 * 1024, readyLagMs: 5_000 });
    expect(new Set(Object.values(sources))).to.deep.equal(new Set(['default']));
    for (const name of OPTION_NAMES) {
      const { type, fallback } = OPTIONS[name];
      if (fallback !== undefined) expect(type.safeParse(fallback).success, name).to.equal(true);
    }
  });

  it('prefers flags to the environment to the file to the defaults', () => {
    const file = JSON.stringify({ port: 1, segmentBytes: '1MiB', readyLagMs: '1s', logLevel: 'debug' });
    const environment = { SHIPLOG_PORT: '2', SHIPLOG_SEGMENT_BYTES: '2MiB', SHIPLOG_READY_LAG_MS: '2s', PORT: '9' };
    const { values, sources } = composeConfig({ file: 'a.json', environment, flags: { port: '3', segmentBytes: '3MiB' } }, file);
    expect(values).to.include({ port: 3, segmentBytes: 3 * 1024 * 1024, readyLagMs: 2_000, logLevel: 'debug', host: '127.0.0.1' });
    expect(sources).to.include({ port: 'flag', readyLagMs: 'environment', logLevel: 'file', host: 'default' });
  });

  it('takes an empty variable for one that is not set', () => {
    expect(composeConfig({ ...nothing, environment: { SHIPLOG_PORT: '' } }, undefined).values.port).to.equal(4455);
  });

  it('leaves the variables of the command line alone', () => {
    expect(() => composeConfig({ ...nothing, environment: { SHIPLOG_URL: 'http://a:1', SHIPLOG_CONFIG: 'x' } }, undefined)).not.to.throw();
  });

  it('derives a distinct flag and variable from each option', () => {
    expect(flagOf('requestBodiesBytesMax')).to.equal('--request-bodies-bytes-max');
    expect(variableOf('dataDir')).to.equal('SHIPLOG_DATA_DIR');
    expect(new Set(OPTION_NAMES.map(variableOf)).size).to.equal(OPTION_NAMES.length);
  });

  const wrong: readonly (readonly [title: string, input: Partial<ConfigInput>, file: string | undefined, message: string])[] = [
    ['an unknown option in the file', {}, '{"prot": 1}', 'n.json: prot is no option; did you mean port?'],
    ['another spelling of an option', {}, '{"data-dir": "x"}', 'n.json: data-dir is no option; did you mean dataDir?'],
    ['an option that resembles nothing', {}, '{"colour": 1}', 'n.json: colour is no option'],
    ['an unknown variable', { environment: { SHIPLOG_HSOT: 'a' } }, undefined, 'SHIPLOG_HSOT is no option; did you mean SHIPLOG_HOST?'],
    ['a wrong value in the file', {}, '{"port": "x"}', 'n.json: port is "x", expected an integer from 0 to 65535'],
    ['a wrong value in the environment', { environment: { SHIPLOG_LOG_LEVEL: 'loud' } }, undefined, 'SHIPLOG_LOG_LEVEL is "loud", expected one of error, warn, info, debug'],
    ['a wrong value of a flag', { flags: { segmentBytes: '1KiB' } }, undefined, '--segment-bytes is "1KiB", expected bytes, e.g. "64MiB", from 64KiB to 1GiB'],
    ['a wrong item of a list', {}, '{"peers": ["http://a:1", 5]}', 'n.json: peers[1] is 5, expected a URL like "http://10.0.0.5:4455"'],
    ['something else than a list', {}, '{"peers": 5}', 'n.json: peers is 5, expected a list'],
    ['null', {}, '{"host": null}', 'n.json: host is null, expected a host name or address'],
    ['a file that is no object', {}, '[1]', 'n.json is [1], expected a JSON object of options'],
    ['a wrong value that a flag hides', { flags: { port: '1' } }, '{"port": -1}', 'n.json: port is -1, expected an integer from 0 to 65535'],
    ['a window that ends before it begins', {}, '{"retentionMsMin": "2h", "retentionMsMax": "1h"}', 'n.json: retentionMsMin: 7200000 ms is more than retentionMsMax, 3600000 ms'],
    ['a replica that founds a cluster', { flags: { follow: 'http://a:1', newCluster: true } }, undefined, '--new-cluster: a node either follows another one or founds a cluster: drop follow or newCluster'],
  ];
  for (const [title, input, file, message] of wrong) {
    it(`names ${title}`, () => {
      expect(complaintOf({ ...nothing, ...input, file: 'n.json' }, file)).to.equal(message);
    });
  }

  it('names the line of a JSON mistake', () => {
    expect(complaintOf({ ...nothing, file: 'n.json' }, '{\n  "port": 1,\n}')).to.match(/^n\.json is not JSON: .*line 3 column 1/);
  });

  it('names everything that is wrong, one thing a line', () => {
    const complaint = complaintOf({ file: 'n.json', environment: { SHIPLOG_PORT: 'a' }, flags: { host: '' } }, '{"logLevel": 1, "nmae": 1}');
    expect(complaint.split('\n')).to.have.lengthOf(4);
  });

  it('does not repeat a long value in full', () => {
    expect(complaintOf({ ...nothing, file: 'n.json' }, JSON.stringify({ port: 'x'.repeat(1_000) })).length).to.be.below(200);
  });

  for (const name of ['__proto__', 'constructor', 'toString']) {
    it(`refuses an option named ${name}`, () => {
      expect(complaintOf({ ...nothing, file: 'n.json' }, `{"${name}": {}}`)).to.equal(`n.json: ${name} is no option`);
    });
  }

  it('refuses to listen beyond loopback unless told that this is insecure', () => {
    expect(complaintOf({ ...nothing, flags: { host: '0.0.0.0' } }, undefined))
      .to.match(/^--host: 0\.0\.0\.0 is not loopback/)
      .and.not.include('\n');
    expect(composeConfig({ ...nothing, flags: { host: '10.0.0.1', insecure: true } }, undefined).values.host).to.equal('10.0.0.1');
  });

  for (const host of ['0.0.0.0', '::']) {
    it(`refuses to tell other nodes that it is at ${host}`, () => {
      expect(complaintOf({ ...nothing, flags: { host, insecure: true } }, undefined)).to.match(/^advertise: host .* set advertise/);
      const flags = { host, insecure: true, advertise: 'http://10.0.0.1:4455' };
      expect(composeConfig({ ...nothing, flags }, undefined).values.host).to.equal(host);
    });
  }

  it('refuses to follow itself', () => {
    const follow = 'http://127.0.0.1:4455';
    expect(complaintOf({ ...nothing, flags: { follow } }, undefined)).to.equal(`--follow: ${follow} is this node itself, expected the URL of another one`);
    expect(complaintOf({ ...nothing, flags: { follow: 'http://[::1]:4455', host: '::1' } }, undefined)).to.include('is this node itself');
    expect(composeConfig({ ...nothing, flags: { follow, port: '4466' } }, undefined).values.follow).to.equal(follow);
  });

  for (const [host, expected] of [
    ['127.0.0.1', true],
    ['127.1.2.3', true],
    ['localhost', true],
    ['::1', true],
    ['::', false],
    ['127.example.org', false],
    ['10.0.0.1', false],
  ] as const) {
    it(`says that ${host} is ${expected ? '' : 'not '}loopback`, () => {
      expect(isLoopback(host)).to.equal(expected);
    });
  }

  describe('from a file', () => {
    let directory: string;
    before(async () => {
      directory = await mkdtemp(join(tmpdir(), 'shiplog-config-'));
    });
    after(() => rm(directory, { recursive: true }));

    it('is read with and without a byte order mark', async () => {
      for (const mark of ['', '\uFEFF']) {
        const file = join(directory, 'node.json');
        await writeFile(file, `${mark}{"port": 77}`);
        expect((await loadConfig(new RealDisk(), { ...nothing, file })).values.port).to.equal(77);
      }
    });

    it('names a file that is missing', async () => {
      const file = join(directory, 'missing.json');
      const error = await loadConfig(new RealDisk(), { ...nothing, file }).then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(error).to.be.instanceOf(ShiplogError).with.property('message').that.includes(file);
    });
  });

  for (const name of ['default', 'primary', 'replica']) {
    it(`takes the example config/${name}.json`, async () => {
      const file = join(import.meta.dirname, `../../config/${name}.json`);
      expect((await loadConfig(new RealDisk(), { ...nothing, file })).values.port).to.equal(4455);
    });
  }

  it('has the defaults in config/default.json', async () => {
    const file = join(import.meta.dirname, '../../config/default.json');
    const { values } = await loadConfig(new RealDisk(), { ...nothing, file });
    expect(values).to.deep.equal(composeConfig(nothing, undefined).values);
  });
});

function complaintOf(input: ConfigInput, file: string | undefined): string {
  try {
    composeConfig(input, file);
  } catch (error) {
    expect(error).to.be.instanceOf(ShiplogError).with.property('code', 'bad-config');
    return (error as ShiplogError).message;
  }
  throw new Error('expected a complaint');
}
