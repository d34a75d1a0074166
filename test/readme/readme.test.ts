import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { expect } from 'chai';
import { TypingShell } from './typing-shell.ts';

/**
 * The README, typed by a new user: every line of its blocks fenced `sh`, from top to bottom, into one
 * shell, in a copy of the project with nothing but what git tracks. `# → text` behind a line is its
 * whole output. Blocks fenced `console` need another machine, or root: they are not typed.
 */
const PROJECT = resolve(import.meta.dirname, '../..');
const README = readFileSync(join(PROJECT, 'README.md'), 'utf8');
const BLOCKS = [...README.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language, text]) => ({ language: language!, text: text! }));
const LINES = BLOCKS.filter((block) => block.language === 'sh').flatMap((block) => block.text.split('\n').filter((line) => line.trim() !== ''));

describe('the README', () => {
  let directory: string;
  let cluster: ChildProcess | undefined;
  let shell: TypingShell;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'shiplog-readme-'));
    const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], { cwd: PROJECT, encoding: 'utf8' });
    for (const file of files.split('\0').filter((name) => name !== '' && !name.startsWith('test/'))) {
      mkdirSync(dirname(join(directory, file)), { recursive: true });
      cpSync(join(PROJECT, file), join(directory, file));
    }
    symlinkSync(join(PROJECT, 'node_modules'), join(directory, 'node_modules'));
    shell = new TypingShell(directory);
  });

  after(async () => {
    await shell.end();
    if (cluster?.pid !== undefined && cluster.exitCode === null) {
      const ended = new Promise((done) => cluster!.once('exit', done));
      process.kill(-cluster.pid, 'SIGTERM');
      await ended;
    }
    rmSync(directory, { recursive: true, force: true });
  });

  it('opens with the two commands and the calls of the brief', () => {
    expect(LINES[0]).to.match(/^npm start\b/);
    expect(BLOCKS[1]).to.deep.include({ language: 'console' });
    expect(BLOCKS[1]!.text).to.contain('npm test');
    expect(LINES.length).to.be.greaterThan(15);
  });

  it(`has these blocks that are not run: ${BLOCKS.filter((block) => block.language !== 'sh' && block.language !== '').map((block) => block.text.trim().split('\n')[0]).join(' · ')}`, () => {
    expect(BLOCKS.map((block) => block.language)).to.satisfy((languages: string[]) => languages.every((language) => ['sh', 'console', ''].includes(language)));
  });

  it('quotes the apt line that CI runs', () => {
    const [, packages] = /^apt-get install -y --no-install-recommends (.+)$/m.exec(readFileSync(join(PROJECT, '.ci/run'), 'utf8'))!;
    expect(README).to.contain(`apt-get update && apt-get install -y --no-install-recommends ${packages}`);
  });

  for (const [index, line] of LINES.entries()) {
    const [, command, , expected] = /^(.*?)(\s+# (?:→ (.*)|.*))?$/.exec(line)!;
    it(`line ${index + 1} works: ${command}`, async function () {
      this.timeout(60_000);
      if (command!.startsWith('npm start')) {
        cluster = startCluster(directory, command!);
        await ready(cluster);
        return;
      }
      let output = await run(shell, command!);
      // A replica may be behind for a moment, as the README says: a read that asks for no position may be repeated.
      for (let tries = 0; tries < 20 && isPlainRead(command!) && output !== expected; tries += 1) output = await run(shell, `sleep 0.1; ${command}`);
      if (expected !== undefined) expect(output).to.equal(expected);
    });
  }
});

async function run(shell: TypingShell, command: string): Promise<string> {
  const { stdout, stderr, code } = await shell.type(command, 30_000);
  expect(code, stderr).to.equal(0);
  return stdout;
}

function isPlainRead(command: string): boolean {
  return command.includes('/get/') && !command.includes('min=');
}

function startCluster(directory: string, command: string): ChildProcess {
  // A process group of its own, as under a terminal: Ctrl-C goes to all of it.
  return spawn('sh', ['-c', command], { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
}

function ready(cluster: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = '';
    const onData = (data: Buffer): void => {
      output += data.toString();
      if (output.includes('are ready')) resolve();
    };
    cluster.stdout!.on('data', onData);
    cluster.stderr!.on('data', onData);
    cluster.once('exit', (code) => reject(new Error(`npm start ended with ${code}: ${output}`)));
  });
}
