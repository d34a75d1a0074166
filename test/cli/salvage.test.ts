import { expect } from 'chai';
import { Command, CommanderError } from 'commander';
import { readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EpochHistory } from '../../lib/base/epoch-history.ts';
import { isShiplogError } from '../../lib/base/errors.ts';
import { judgeWrite } from '../../lib/cli/salvage-judgement.ts';
import { addSalvageCommand } from '../../lib/cli/salvage.ts';
import { type FakeNode, answerProblem, startFakeNode } from '../client/fake-node.ts';
import { makeTemporaryDirectory } from '../env/temporary-directory.ts';
import { ServeProcess } from '../support/serve-process.ts';
import { FORK_LSN, LiveTable, OWN_EPOCH, type SampleOperation, writeSample } from './salvage-sample.ts';
import { shiplog } from './shiplog-process.ts';
import { type TestContext, createTestContext } from './test-context.ts';

const OPERATIONS: readonly SampleOperation[] = [
  ['put', 'untouched', 'first'],
  ['put', 'newer', 'own'],
  ['put', 'gone', 'own'],
  ['put', 'same', 'equal'],
  ['delete', 'doomed'],
  ['delete', 'reborn'],
  ['delete', 'nowhere'],
  ['put', 'untouched', 'own'],
  ['epoch-end'],
];

function liveTable(): LiveTable {
  return new LiveTable({
    untouched: ['before', '1.c04d-5'],
    newer: ['since', '2.5e5e-14'],
    same: ['equal', '2.5e5e-15'],
    doomed: ['before', '1.c04d-10'],
    reborn: ['since', '2.5e5e-16'],
  });
}

describe('shiplog salvage', () => {
  let directory: { path: string; remove: () => Promise<void> };
  let context: TestContext;
  let live: LiveTable;
  let node: FakeNode;

  beforeEach(async () => {
    directory = await makeTemporaryDirectory();
    live = liveTable();
    node = await startFakeNode((request, response, body) => live.route(request, response, body));
    context = createTestContext({ SHIPLOG_URL: node.url });
  });

  afterEach(async () => {
    await context.environment.transport.close();
    await node.close();
    await directory.remove();
  });

  function salvage(...args: readonly string[]): Promise<unknown> {
    const program = new Command('shiplog').exitOverride().configureOutput({ writeErr: (text) => context.terminal.note(text) });
    addSalvageCommand(program, context);
    return program.parseAsync(['salvage', ...args, '--data-dir', directory.path], { from: 'user' });
  }

  async function refusal(...args: readonly string[]): Promise<Error> {
    return salvage(...args).then(
      () => new Error('it was not refused'),
      (error: Error) => error,
    );
  }

  const files = (path = 'salvage'): Promise<string[]> => readdir(join(directory.path, path)).then((names) => names.filter((name) => name !== 'done'), () => []);
  const table = (): Record<string, string> => Object.fromEntries([...live.rows].map(([key, { value }]) => [key, value]));
  const lines = (): string[][] => context.said.stdout.trimEnd().split('\n').map((line) => line.split('\t'));

  /** A terminal with somebody who types `answer`. */
  function atTerminal(answer: string): void {
    Object.assign(context.stdin, { isTTY: true });
    Object.assign(context.stderr, { isTTY: true });
    context.stdin.end(answer);
  }

  describe('list', () => {
    it('shows what waits', async () => {
      const name = await writeSample(directory.path, { operations: OPERATIONS });
      await salvage('list');
      const [heading, row, ...others] = lines();
      expect(heading).to.deep.equal(['file', 'operations', 'size', 'after', 'written', 'content', 'data directory']);
      expect(row).to.deep.equal([name, '9', row![2]!, '1.c04d-10', '2026-01-02T03:04:05.000Z', 'complete', directory.path]);
      expect(others).to.deep.equal([]);
      expect(context.exitCode).to.equal(undefined);
    });

    it('says that nothing waits', async () => {
      await salvage('list');
      expect(context.said).to.deep.equal({ stdout: '', stderr: '✓ nothing waits\n' });
    });

    it('names a file that is damaged, and exits with 5', async () => {
      const name = await writeSample(directory.path, { operations: OPERATIONS, damage: (text) => text.slice(0, -5) });
      await salvage('list');
      expect(lines()[1]).to.include.members([name, 'damaged']);
      expect(context.said.stderr).to.include(`shiplog: ${directory.path}/salvage/${name} is damaged: `);
      expect(context.exitCode).to.equal(5);
    });

    it('looks into the directories of several configurations', async () => {
      const other = join(directory.path, 'other');
      await writeSample(directory.path, { operations: OPERATIONS });
      await writeSample(other, { operations: OPERATIONS.slice(0, 2) });
      const config = join(directory.path, 'config.json');
      await writeFile(config, JSON.stringify({ dataDir: other }));
      await salvage('list', '--json', '--config', config);
      const listed = JSON.parse(context.said.stdout) as { name: string; dataDirectory: string; operations: number }[];
      expect(listed.map(({ name, dataDirectory, operations }) => [name, dataDirectory, operations])).to.deep.equal([
        ['1.c04d-19.ndjson', directory.path, 9],
        ['1.c04d-12.ndjson', other, 2],
      ]);
    });

    it('does not take a directory that is not there for one without files', async () => {
      await rm(directory.path, { recursive: true });
      expect(await refusal('list')).to.have.property('message').that.includes(`there is no data directory ${directory.path}`);
    });
  });

  describe('show', () => {
    it('sorts the last operation of each key by what the cluster says', async () => {
      await writeSample(directory.path, { operations: OPERATIONS });
      await salvage('show');
      expect(lines()).to.deep.equal([
        ['class', 'operation', 'key', 'value', 'position'],
        ['superseded', 'put', 'newer', '"own"', '1.c04d-12'],
        ['absent now', 'put', 'gone', '"own"', '1.c04d-13'],
        ['in place', 'put', 'same', '"equal"', '1.c04d-14'],
        ['still newest', 'delete', 'doomed', '-', '1.c04d-15'],
        ['superseded', 'delete', 'reborn', '-', '1.c04d-16'],
        ['in place', 'delete', 'nowhere', '-', '1.c04d-17'],
        ['still newest', 'put', 'untouched', '"own"', '1.c04d-18'],
      ]);
      expect(context.said.stderr).to.equal('2 still newest, 2 superseded, 1 absent now, 2 in place; `shiplog salvage apply` writes back what is still newest\n');
      expect(live.writes).to.deep.equal([]);
    });

    it('says why the operations were set aside', async () => {
      await writeSample(directory.path, { operations: [['put', 'k', 'v']], header: { reason: 'b holds epoch 2' } });
      await salvage('show');
      expect(context.said.stderr).to.match(/^set aside because b holds epoch 2\n1 absent now;/);
    });

    it('speaks JSON, with whole values', async () => {
      const value = `${'long '.repeat(100)}\n\0😀`;
      await writeSample(directory.path, { operations: [['put', 'k', value]] });
      await salvage('show', '1.c04d-11', '--json');
      const [file, operation, summary] = context.said.stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as object);
      expect(file).to.include({ type: 'file', name: '1.c04d-11.ndjson', comparedWith: node.url });
      expect(operation).to.include({ type: 'operation', class: 'absent', kind: 'put', key: 'k', value, current: null });
      expect(summary).to.deep.equal({ 'type': 'summary', 'keys': 1, 'still-newest': 0, 'superseded': 0, 'absent': 1, 'in-place': 0 });
    });

    it('shortens values, and lets none of them steer the terminal', async () => {
      await writeSample(directory.path, { operations: [['put', 'k\u001b[2J', `\u001b[2J\t${'x'.repeat(500)}`]] });
      await salvage('show');
      expect(context.said.stdout).to.not.include('\u001b');
      expect(lines()[1]![3]).to.match(/^"\\u001b\[2J\\tx+"…$/).and.have.lengthOf.below(80);
    });

    it('shows only the keys that are named, and refuses one that the file does not have', async () => {
      await writeSample(directory.path, { operations: OPERATIONS });
      await salvage('show', '--key', 'gone', '--key', 'doomed');
      expect(lines().slice(1).map((row) => row[2])).to.deep.equal(['gone', 'doomed']);
      expect(isShiplogError(await refusal('show', '--key', 'unknown'), 'not-found')).to.equal(true);
    });

    it('compares with a replica where there is no primary, and says so', async () => {
      live.status = { role: 'replica', state: 'following' };
      await writeSample(directory.path, { operations: OPERATIONS });
      await salvage('show');
      expect(lines()).to.have.lengthOf(8);
      expect(context.said.stderr).to.include('there is no primary: compared with live');
    });

    it('refuses a node of another cluster', async () => {
      await writeSample(directory.path, { operations: OPERATIONS, header: { clusterId: 'd'.repeat(32) } });
      expect(isShiplogError(await refusal('show'), 'other-cluster')).to.equal(true);
    });

    it('says of a file that is not complete what it may lack', async () => {
      await writeSample(directory.path, { operations: OPERATIONS, header: { isComplete: false, completeAfterPosition: '1.c04d-12' } });
      await salvage('show');
      expect(context.said.stderr).to.include('is not complete: of the operations after 1.c04d-10 through 1.c04d-12');
    });

    it('wants a name where several files wait', async () => {
      await writeSample(directory.path, { operations: OPERATIONS });
      await writeSample(directory.path, { operations: OPERATIONS.slice(0, 2) });
      expect((await refusal('show')).message).to.equal('there are 2 salvage files, name one of them: 1.c04d-12.ndjson, 1.c04d-19.ndjson');
      expect((await refusal('show', '1.c04d-99')).message).to.include('no salvage file 1.c04d-99 waits, but 1.c04d-12.ndjson');
      await salvage('show', '1.c04d-12');
      expect(lines()).to.have.lengthOf(3);
    });
  });

  describe('apply', () => {
    it('writes back what is still newest, each under the condition that it was judged by', async () => {
      const name = await writeSample(directory.path, { operations: OPERATIONS });
      await salvage('apply', '--yes');
      expect(live.writes).to.have.members(['POST /set/untouched "1.c04d-5"', 'DELETE /del/doomed "1.c04d-10"']);
      expect(table()).to.deep.equal({ untouched: 'own', newer: 'since', same: 'equal', reborn: 'since' });
      expect(lines()).to.deep.equal([['what', 'keys'], ['written', '2'], ['in place already', '2'], ['superseded: left alone', '2'], ['absent now: left alone', '1']]);
      expect(context.said.stderr).to.include(`${name} waits on: apply it with --absent or --overwrite, or put the rest away with \`shiplog salvage done ${name} --data-dir ${directory.path}\``);
      expect(await files()).to.deep.equal([name]);
      expect(context.exitCode).to.equal(undefined);
    });

    it('moves a file of which nothing is left to decide', async () => {
      const name = await writeSample(directory.path, { operations: OPERATIONS });
      const content = await readFile(join(directory.path, 'salvage', name));
      await salvage('apply', '--yes', '--absent', '--overwrite');
      expect(table()).to.deep.equal({ untouched: 'own', newer: 'own', same: 'equal', gone: 'own' });
      expect(live.writes).to.include.members(['POST /set/gone *', 'POST /set/newer "2.5e5e-14"', 'DELETE /del/reborn "2.5e5e-16"']);
      expect(await files()).to.deep.equal([]);
      expect((await readFile(join(directory.path, 'salvage/done', name))).equals(content)).to.equal(true);
      expect(context.said.stderr).to.include(`nothing of ${name} is left to decide: it is ${directory.path}/salvage/done/${name} now`);
    });

    it('finds on a second run what the first has written in place, and moves the file', async () => {
      await writeSample(directory.path, { operations: [['put', 'untouched', 'own'], ['delete', 'doomed']] });
      live.beforeWrite = (key, _request, response) => {
        if (key !== 'doomed') return;
        response.socket!.destroy();
        return 'answered';
      };
      await salvage('apply', '--yes');
      expect(context.exitCode).to.equal(6);
      expect(context.said.stderr).to.include('not known whether written: "doomed"').and.to.include('stopped before the end');
      expect(await files()).to.have.lengthOf(1);
      live.beforeWrite = () => {};
      await salvage('apply', '--yes');
      expect(table()).to.include({ untouched: 'own' }).and.not.have.property('doomed');
      expect(live.writes.filter((write) => write.includes('untouched'))).to.have.lengthOf(1);
      expect(await files()).to.deep.equal([]);
    });

    it('writes nothing over what is written between the judgement and the write, and says so', async () => {
      await writeSample(directory.path, { operations: [['put', 'untouched', 'own'], ['put', 'gone', 'own'], ['delete', 'doomed']] });
      live.beforeWrite = (key) => void live.set(key, 'just now');
      await salvage('apply', '--yes', '--absent', '--overwrite', '--json');
      expect(table()).to.include({ untouched: 'just now', gone: 'just now', doomed: 'just now' });
      const account = JSON.parse(context.said.stdout) as Record<string, unknown>;
      expect(account).to.include({ applied: 0, notTried: 0, movedTo: null });
      expect(account['supersededMeanwhile']).to.have.members(['untouched', 'gone', 'doomed']);
      expect(context.said.stderr).to.include('written by somebody meanwhile: "untouched"');
      expect(await files()).to.have.lengthOf(1);
    });

    it('needs no delete of a key that somebody deletes meanwhile', async () => {
      await writeSample(directory.path, { operations: [['delete', 'doomed']] });
      live.beforeWrite = (_key, _request, response) => {
        answerProblem(response, 404, 'not-found');
        return 'answered';
      };
      await salvage('apply', '--yes');
      expect(lines()).to.deep.equal([['what', 'keys'], ['written', '0'], ['in place already', '1']]);
      expect(await files()).to.deep.equal([]);
    });

    it('stops where the node refuses, with an account that adds up', async () => {
      const operations = Array.from({ length: 40 }, (_, index): SampleOperation => ['put', `key${index}`, 'own']);
      await writeSample(directory.path, { operations });
      live.beforeWrite = (key, _request, response) => {
        if (key !== 'key20') return;
        answerProblem(response, 503, 'no-primary');
        return 'answered';
      };
      await salvage('apply', '--yes', '--absent', '--json');
      const account = JSON.parse(context.said.stdout) as { keys: number; applied: number; notTried: number; unknown: string[] };
      expect(account).to.deep.include({ keys: 40, applied: 31, notTried: 9, unknown: [] });
      expect(live.rows.size).to.equal(5 + account.applied);
      expect(context.exitCode).to.equal(75);
      expect(context.said.stderr).to.include('stopped before the end: the detail of no-primary');
    });

    it('ends at a signal, with an account', async () => {
      const operations = Array.from({ length: 40 }, (_, index): SampleOperation => ['put', `key${index}`, 'own']);
      await writeSample(directory.path, { operations });
      live.beforeWrite = () => context.signal();
      await salvage('apply', '--yes', '--absent', '--json');
      expect(JSON.parse(context.said.stdout)).to.include({ applied: 16, notTried: 24 });
      expect(context.exitCode).to.equal(1);
    });

    it('says with --dry-run what it would do, and does nothing', async () => {
      await writeSample(directory.path, { operations: OPERATIONS });
      await salvage('apply', '--dry-run', '--absent');
      expect(lines()).to.deep.equal([['what', 'keys'], ['would be written', '3'], ['in place already', '2'], ['superseded: left alone', '2']]);
      expect(context.said.stderr).to.equal('nothing was changed\n');
      expect(live.writes).to.deep.equal([]);
      expect(await files()).to.have.lengthOf(1);
    });

    it('applies only the keys that are named, and keeps the file for the others', async () => {
      await writeSample(directory.path, { operations: OPERATIONS });
      await salvage('apply', '--yes', '--absent', '--key', 'gone', '--key', 'newer');
      expect(live.writes).to.deep.equal(['POST /set/gone *']);
      expect(lines()).to.deep.equal([['what', 'keys'], ['written', '1'], ['superseded: left alone', '1'], ['not among the keys that were named', '5']]);
      expect(await files()).to.have.lengthOf(1);
    });

    it('asks for the durability that is named', async () => {
      await writeSample(directory.path, { operations: OPERATIONS });
      await salvage('apply', '--yes', '--ack', '1');
      expect(live.writes).to.have.members(['POST /set/untouched?ack=1 "1.c04d-5"', 'DELETE /del/doomed?ack=1 "1.c04d-10"']);
      expect(await refusal('apply', '--yes', '--ack', 'memory')).to.be.instanceOf(CommanderError);
    });

    it('asks at a terminal, and changes nothing unless the answer is yes', async () => {
      await writeSample(directory.path, { operations: OPERATIONS });
      atTerminal('n\n');
      await salvage('apply');
      expect(context.said.stderr).to.include('Write 1 key and delete 1 key at live').and.to.include('nothing was changed');
      expect(context.exitCode).to.equal(1);
      expect(live.writes).to.deep.equal([]);
    });

    it('goes on after a yes', async () => {
      await writeSample(directory.path, { operations: OPERATIONS });
      atTerminal('yes\n');
      await salvage('apply');
      expect(live.writes).to.have.lengthOf(2);
    });

    it('wants --yes where nobody can be asked', async () => {
      await writeSample(directory.path, { operations: OPERATIONS });
      expect((await refusal('apply')).message).to.include('add --yes');
      expect(node.requests).to.deep.equal([]);
    });

    it('does not begin without a primary, or with a file that is damaged', async () => {
      live.status = { role: 'replica', state: 'following' };
      const name = await writeSample(directory.path, { operations: OPERATIONS });
      expect(isShiplogError(await refusal('apply', '--yes'), 'no-primary')).to.equal(true);
      live.status = {};
      await writeSample(directory.path, { operations: OPERATIONS, damage: (text) => text.replace('"own"', '"owm"') });
      expect((await refusal('apply', '--yes')).message).to.include(`${name} is damaged: its lines have the checksum`);
      expect(live.writes).to.deep.equal([]);
    });

    it('keeps a file that is not complete until somebody says that it is decided', async () => {
      const name = await writeSample(directory.path, { operations: [['put', 'untouched', 'own']], header: { isComplete: false, completeAfterPosition: '1.c04d-11' } });
      await salvage('apply', '--yes');
      expect(table()).to.include({ untouched: 'own' });
      expect(await files()).to.deep.equal([name]);
      expect(context.said.stderr).to.include(`look into ${directory.path}/gen-000001 for what is missing`);
    });

    it('takes the later one of a row and an operation on the same key', async () => {
      const header = { isComplete: false, completeAfterPosition: '1.c04d-12' };
      await writeSample(directory.path, { operations: [['put', 'untouched', 'second'], ['put', 'untouched', 'first']], header, lsns: [12, 11] });
      await salvage('show');
      expect(lines().slice(1)).to.deep.equal([['still newest', 'put', 'untouched', '"second"', '1.c04d-12']]);
    });

    it('writes any text back as it was', async () => {
      const odd = ['', '\0', '\uFEFFbom', '😀', 'e\u0301', '"\\', '\r\n\t', '\u2028', '%2F../?#', 'x'.repeat(100_000)];
      const keys = odd.filter((text) => text !== '' && text.length < 100);
      await writeSample(directory.path, { operations: [...keys.map((key): SampleOperation => ['put', key, key]), ...odd.map((value, index): SampleOperation => ['put', `value${index}`, value])] });
      await salvage('apply', '--yes', '--absent');
      for (const key of keys) expect(live.rows.get(key)?.value).to.equal(key);
      for (const [index, value] of odd.entries()) expect(live.rows.get(`value${index}`)?.value === value, `value ${index}`).to.equal(true);
      expect(await files()).to.deep.equal([]);
    });
  });

  describe('done', () => {
    it('puts files away, also one that is damaged', async () => {
      const name = await writeSample(directory.path, { operations: OPERATIONS });
      const damaged = await writeSample(directory.path, { operations: OPERATIONS.slice(0, 2), damage: (text) => text.slice(0, 50) });
      await salvage('done', name, damaged.replace('.ndjson', ''), '--json');
      expect(JSON.parse(context.said.stdout)).to.deep.equal([name, damaged].map((each) => ({ name: each, movedTo: `${directory.path}/salvage/done/${each}` })));
      expect(await files()).to.deep.equal([]);
      expect(await files('salvage/done')).to.have.members([name, damaged]);
    });

    it('moves none where one of them is not there', async () => {
      const name = await writeSample(directory.path, { operations: OPERATIONS });
      expect(isShiplogError(await refusal('done', name, '1.c04d-99'), 'not-found')).to.equal(true);
      expect(await files()).to.deep.equal([name]);
    });
  });

  it('works against a real node, as a process', async () => {
    const dataDirectory = join(directory.path, 'node');
    const server = await ServeProcess.start({ dataDirectory });
    try {
      await server.put('untouched', 'before');
      await server.put('doomed', 'before');
      const { clusterId, history, positions } = (await (await fetch(`${server.url}/status`)).json()) as { clusterId: string; history: object[]; positions: { durable: string } };
      await server.put('newer', 'since');
      const header = { clusterId, forkPosition: positions.durable, epochs: history };
      const name = await writeSample(dataDirectory, { operations: OPERATIONS, header });
      const run = (...args: readonly string[]): ReturnType<typeof shiplog> => shiplog(['salvage', ...args, '--data-dir', dataDirectory], { variables: { SHIPLOG_URL: server.url } });

      const shown = await run('show');
      expect(shown.stdout.trimEnd().split('\n').slice(1).map((line) => line.split('\t')[0])).to.deep.equal(['superseded', 'absent now', 'absent now', 'still newest', 'in place', 'in place', 'still newest']);
      const applied = await run('apply', '--yes', '--json');
      expect(applied.code, applied.stderr).to.equal(0);
      expect(JSON.parse(applied.stdout)).to.deep.include({ applied: 2, inPlace: 2, skipped: { 'still-newest': 0, 'absent': 2, 'superseded': 1 }, movedTo: null });
      expect([await server.get('untouched'), await server.get('doomed'), await server.get('newer'), await server.get('gone')]).to.deep.equal(['own', undefined, 'since', undefined]);
      const all = await run('apply', '--yes', '--absent', '--overwrite');
      expect(all.code, all.stderr).to.equal(0);
      expect([await server.get('newer'), await server.get('gone')]).to.deep.equal(['own', 'own']);
      expect(await readdir(join(dataDirectory, 'salvage/done'))).to.deep.equal([name]);
      expect((await run('list')).stderr).to.equal('✓ nothing waits\n');
    } finally {
      await server.kill();
    }
  });

  it('shows help with examples for each of its commands', async () => {
    for (const command of ['list', 'show', 'apply', 'done']) {
      const { code, stdout } = await shiplog(['salvage', command, '--help']);
      expect(code).to.equal(0);
      expect(stdout).to.match(/^Usage: shiplog salvage /).and.to.include('Examples:\n  $ ');
    }
  });
});

describe('the judgement of a salvaged write', () => {
  const history = new EpochHistory([
    { ...OWN_EPOCH, firstLsn: 1, lastLsn: 7, endChain: 1 },
    { number: 3, id: `beef${'0'.repeat(28)}`, firstLsn: 8, lastLsn: null, endChain: null },
  ]);
  const givenUp = { history, forkLsn: FORK_LSN };
  const write = { kind: 'put', key: 'k', value: 'own', position: '3.beef-12', wallMs: null } as const;
  const judged = (position: string, value = 'other'): string => judgeWrite(write, { value, position }, givenUp);

  it('takes a key for untouched up to the fork, in every epoch that both histories have', () => {
    for (const position of ['1.c04d-1', '1.c04d-7', '3.beef-8', `3.beef-${FORK_LSN}`]) expect(judged(position), position).to.equal('still-newest');
  });

  it('takes a key for superseded after the fork, whatever its epoch', () => {
    for (const position of [`3.beef-${FORK_LSN + 1}`, '4.aaaa-11', '4.aaaa-99']) expect(judged(position), position).to.equal('superseded');
  });

  it('is not deceived by an LSN before the fork that is of an epoch which ours does not have there', () => {
    for (const position of ['2.aaaa-9', '1.c04d-8', '3.beef-7', '1.0000-5', '2.aaaa-5', 'odd']) expect(judged(position), position).to.equal('superseded');
  });

  it('wants nothing done where the cluster says the same', () => {
    expect(judged('4.aaaa-99', 'own')).to.equal('in-place');
    expect(judged('1.c04d-1', 'own')).to.equal('in-place');
    const deletion = { kind: 'delete', key: 'k', position: '3.beef-12', wallMs: null } as const;
    expect(judgeWrite(deletion, undefined, givenUp)).to.equal('in-place');
    expect(judgeWrite(deletion, { value: '', position: '1.c04d-7' }, givenUp)).to.equal('still-newest');
    expect(judgeWrite(deletion, { value: '', position: '4.aaaa-11' }, givenUp)).to.equal('superseded');
  });

  it('can not tell a key that was deleted from one that never was', () => {
    expect(judgeWrite(write, undefined, givenUp)).to.equal('absent');
  });
});
