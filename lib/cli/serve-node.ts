/**
 * The life of `shiplog serve`: configuration, logger, the node, readiness, changes of the
 * configuration, and one way out whatever ends it: a signal, the parent process, or the node itself.
 */
import type { Readable } from 'node:stream';
import { messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { type ConfigInput, loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { type ConfigChange, ConfigWatch } from '../config/watch.ts';
import type { Environment } from '../env/environment.ts';
import type { Logger } from '../observe/logger.ts';
import { type NodeLogger, createLogger } from '../observe/winston-logger.ts';
import type { CommandContext } from './command-context.ts';
import { exitCodeOf } from './exit-codes.ts';
import { SystemdNotify } from './systemd-notify.ts';

/** A node and its listener, as one thing that runs. */
export interface ServedNode {
  /** Where clients on this machine reach it. */
  readonly url: string;
  readonly role: string;
  /** Takes over the options that are live. */
  applyConfig(config: Config): void;
  /** Clean stop: finishes what is in flight, syncs, closes. Resolves when all of it is done. */
  stop(): Promise<void>;
  /** Resolves when the node can't go on by itself. */
  readonly failed: Promise<Error>;
}

export interface ServeInput {
  readonly config: Config;
  readonly name: string;
  readonly version: string;
  readonly environment: Environment;
  readonly logger: Logger;
}

export interface ServeOptions {
  readonly input: ConfigInput;
  /** Resolves once the node has recovered and its port is open. */
  readonly start: (input: ServeInput) => Promise<ServedNode>;
  readonly hostName: string;
  readonly pid: number;
  /** Standard input of the process, when its end means that the node has to stop. */
  readonly parentLine?: Readable;
}

export async function serveNode(context: CommandContext, options: ServeOptions): Promise<void> {
  const { environment, terminal } = context;
  const { values: config } = await loadConfig(environment.disk, options.input);
  const name = config.name ?? `${options.hostName}-${config.port}`;
  const nodeLogger = createNodeLogger(context, config, name);
  const { logger } = nodeLogger;
  const systemd = new SystemdNotify({
    clock: environment.clock,
    variables: context.variables,
    pid: options.pid,
    onFailure: (message) => logger.warn(message),
  });
  const stopWish = wishToStop(context, options.parentLine);
  let node: ServedNode | undefined;
  let watch: ConfigWatch | undefined;
  let isStoppedAtStart = false;

  try {
    const starting = options.start({ config, name, version: context.version, environment, logger });
    const started = await Promise.race([starting, stopWish]);
    if (typeof started === 'string') {
      logger.info('stopped while starting', { because: started });
      isStoppedAtStart = true;
    } else {
      node = started;
      watch = watchConfig(options.input, config, context, nodeLogger, node);
      await systemd.ready(`${node.role} at ${node.url}`);
      terminal.write(`${name} is ready at ${node.url}\n`);

      const end = await Promise.race([stopWish, node.failed]);
      if (typeof end !== 'string') throw end;
      logger.info('stopping', { because: end });
    }
  } catch (error) {
    for (const line of messageOf(error).split('\n')) logger.error(line);
    context.exitWith(exitCodeOf(error));
  }
  if (isStoppedAtStart) {
    await nodeLogger.close();
    // Recovery only repeats what the log says, so it may be left at any point.
    context.exitNow('ok');
  }

  // Also ends a process that something else keeps alive after a clean stop: no stop may take longer.
  environment.clock.setTimer(LIMITS.cleanStopMs, () => {
    terminal.fail(`did not stop within ${LIMITS.cleanStopMs} ms and was ended; the log keeps all that was acknowledged`);
    context.exitNow('failed');
  });
  await stopAll(context, { systemd, watch, node, nodeLogger, parentLine: options.parentLine });
}

function createNodeLogger({ stderr }: CommandContext, config: Config, name: string): NodeLogger {
  const isTerminal = (stderr as { isTTY?: boolean }).isTTY === true;
  const format = config.logFormat === 'auto' ? (isTerminal ? 'human' : 'json') : config.logFormat;
  return createLogger({ level: config.logLevel, format, name, destination: stderr });
}

/** Resolves with the reason. */
function wishToStop(context: CommandContext, parentLine: Readable | undefined): Promise<string> {
  const signals = context.takeSignals();
  void signals.stopNow.then((signal) => {
    context.terminal.fail(`ended at once by a second ${signal}; the log keeps all that was acknowledged`);
    return context.exitNow('failed');
  });
  const parentGone =
    parentLine === undefined
      ? []
      : [
          new Promise<string>((resolve) => {
            // The parent holds the other end: it closes it, or the system does when the parent dies.
            parentLine.once('error', () => resolve('the parent process is gone'));
            parentLine.once('close', () => resolve('the parent process closed the line'));
            parentLine.once('end', () => resolve('the parent process closed the line'));
            parentLine.resume();
          }),
        ];
  return Promise.race([signals.stop, ...parentGone]);
}

function watchConfig(
  input: ConfigInput,
  config: Config,
  { environment: { clock, disk } }: CommandContext,
  nodeLogger: NodeLogger,
  node: ServedNode,
): ConfigWatch | undefined {
  const { file } = input;
  if (file === undefined) return undefined;
  const { logger } = nodeLogger;
  return new ConfigWatch({
    clock,
    disk,
    input: { ...input, file },
    config,
    onChange: ({ config: changed, applied, needsRestart }: ConfigChange) => {
      nodeLogger.setLevel(changed.logLevel);
      node.applyConfig(changed);
      if (applied.length > 0) logger.info('the configuration file changed, and this is in effect', { file, options: applied.join(', ') });
      if (needsRestart.length > 0) logger.warn('the configuration file changed, and this needs a restart', { file, options: needsRestart.join(', ') });
    },
    onInvalid: (error) => {
      for (const line of error.message.split('\n')) logger.error('the configuration file is wrong, the node goes on without it', { reason: line });
    },
  });
}

interface Running {
  readonly systemd: SystemdNotify;
  readonly watch: ConfigWatch | undefined;
  readonly node: ServedNode | undefined;
  readonly nodeLogger: NodeLogger;
  readonly parentLine: Readable | undefined;
}

async function stopAll(context: CommandContext, { systemd, watch, node, nodeLogger, parentLine }: Running): Promise<void> {
  const { logger } = nodeLogger;
  // Not waited for: a service manager that hangs must not take from the time that the node has.
  const told = systemd.stopping();
  await watch?.close();
  try {
    await node?.stop();
    logger.info('stopped');
  } catch (error) {
    logger.error(`the node did not stop cleanly: ${messageOf(error)}`);
    context.exitWith(exitCodeOf(error));
  }
  await told;
  parentLine?.destroy();
  await context.environment.transport.close();
  await nodeLogger.close();
}
