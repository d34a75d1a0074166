/**
 * The command line, from end to end. Only here (and where context says so) the process is touched:
 * its arguments, streams, signals and exit code.
 */
import { resolve } from 'node:path';
import { Command, CommanderError } from 'commander';
import packageJson from '../../package.json' with { type: 'json' };
import { messageOf } from '../base/errors.ts';
import { createRealEnvironment } from '../env/real-environment.ts';
import { TransportError } from '../env/transport.ts';
import { addBenchCommand } from './bench.ts';
import { addClusterCommand } from './cluster.ts';
import type { CommandContext } from './command-context.ts';
import { addConfigCommand } from './config.ts';
import { addDelCommand } from './del.ts';
import { EXIT_CODES, type ExitReason, exitCodeOf } from './exit-codes.ts';
import { addExportCommand } from './export.ts';
import { addForgetCommand } from './forget.ts';
import { addGetCommand } from './get.ts';
import { addImportCommand } from './import.ts';
import { addPromoteCommand } from './promote.ts';
import { addRejoinCommand } from './rejoin.ts';
import { addSalvageCommand } from './salvage.ts';
import { addServeCommand } from './serve.ts';
import { addSetCommand } from './set.ts';
import { addSnapshotCommand } from './snapshot.ts';
import { addStatusCommand } from './status.ts';
import { takeStopSignals } from './stop-signals.ts';
import { Terminal } from './terminal.ts';
import { addVerifyCommand } from './verify.ts';
import { addWalCommand } from './wal.ts';

const PROJECT_DIRECTORY = resolve(import.meta.dirname, '../..');

const context = createContext();
// Timers of the clock don't hold the process open, and a command may have nothing else under way.
const keepOpen = setInterval(() => {}, 60_000);
try {
  await createProgram(context).parseAsync(process.argv);
} catch (error) {
  report(error);
} finally {
  await context.environment.transport.close();
  clearInterval(keepOpen);
}

function createProgram(context: CommandContext): Command {
  const program = new Command('shiplog')
    .description('A replicated key-value store over HTTP.')
    .version(packageJson.version)
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: (text) => context.terminal.write(text),
      writeErr: (text) => context.terminal.note(text.trimEnd().replace(/^error: /, 'shiplog: ')),
    })
    .addHelpText('after', `\n${exitCodeTable()}`);

  program.commandsGroup('Nodes:');
  addServeCommand(program, context, async (input) => {
    // Half of the program, and most of its start-up time, which the other commands do without.
    const { startServedNode } = await import('./start-served-node.ts');
    // SQLite makes its files with the process's mask: data is for nobody else.
    process.umask(0o077);
    return startServedNode(input);
  });
  addClusterCommand(program, context, {
    self: [process.execPath, ...process.execArgv, import.meta.filename],
    defaultDataDirectory: resolve(PROJECT_DIRECTORY, 'data'),
    workingDirectory: process.cwd(),
  });
  addConfigCommand(program, context);
  program.commandsGroup('Data:');
  addGetCommand(program, context);
  addSetCommand(program, context);
  addDelCommand(program, context);
  addExportCommand(program, context, process.stdout);
  addImportCommand(program, context);
  program.commandsGroup('Operations:');
  addStatusCommand(program, context);
  addPromoteCommand(program, context);
  addRejoinCommand(program, context);
  addForgetCommand(program, context);
  addSalvageCommand(program, context);
  addSnapshotCommand(program, context);
  addVerifyCommand(program, context);
  addWalCommand(program, context, process.stdout);
  addBenchCommand(program, context);
  return program;
}

function createContext(): CommandContext {
  const environment = createRealEnvironment();
  const terminal = new Terminal({ stdout: process.stdout, stderr: process.stderr, environment: process.env, clock: environment.clock });
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // `shiplog status | head -1`: whoever read the results has seen enough.
    if (error.code === 'EPIPE') return;
    terminal.fail(`can't write to standard output: ${messageOf(error)}`);
    process.exitCode = exitCodeOf(error);
  });
  // There is no other place to complain, and a node must not end because its log's disk is full.
  process.stderr.on('error', () => {});
  return {
    terminal,
    environment,
    stdin: process.stdin,
    stderr: process.stderr,
    variables: process.env,
    version: packageJson.version,
    pid: process.pid,
    exitWith: (reason) => {
      process.exitCode = typeof reason === 'number' ? reason : EXIT_CODES[reason].code;
    },
    exitNow: (reason) => process.exit(EXIT_CODES[reason].code),
    takeSignals: () => takeStopSignals(process, environment.clock),
  };
}

function report(error: unknown): void {
  if (error instanceof CommanderError) {
    // Commander has said what there was to say; its own exit code tells help from mistakes.
    process.exitCode = error.exitCode === 0 ? EXIT_CODES.ok.code : EXIT_CODES.usage.code;
    return;
  }
  context.terminal.fail(messageOf(error));
  if (error instanceof TransportError) context.terminal.note('Is a node running there? `npm start` starts a local cluster; --url or SHIPLOG_URL names another node.');
  process.exitCode = exitCodeOf(error);
}

function exitCodeTable(): string {
  const reasons = Object.keys(EXIT_CODES) as ExitReason[];
  return ['Exit codes:', ...reasons.map((reason) => `  ${String(EXIT_CODES[reason].code).padEnd(4)}${EXIT_CODES[reason].meaning}`)].join('\n');
}
