/**
 * Takes over changes of the configuration file while the node runs.
 *
 * chokidar is a hint only: it misses events and doubles them, and editors replace files in several
 * steps. So every hint, and every ten seconds without one, leads to the same thing: read the file
 * until two readings agree, and compare its content with the one that was taken over last.
 */
import { basename, dirname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type FSWatcher, watch } from 'chokidar';
import { isShiplogError } from '../base/errors.ts';
import { type Clock, type Timer, sleep } from '../env/clock.ts';
import type { Disk } from '../env/disk.ts';
import { type ConfigInput, composeConfig, readConfigFile } from './load.ts';
import { type Config, OPTION_NAMES, type OptionName, isLive } from './schema.ts';

export interface ConfigChange {
  /** What the node runs with from now on. */
  readonly config: Config;
  /** Options that changed and are in effect. */
  readonly applied: readonly OptionName[];
  /** Options whose value in the file is another than the one the node was started with. */
  readonly needsRestart: readonly OptionName[];
}

export interface ConfigWatchOptions {
  readonly clock: Clock;
  readonly disk: Disk;
  /** As at start: flags and environment stay stronger than the file. */
  readonly input: ConfigInput & { readonly file: string };
  /** What the node was started with. */
  readonly config: Config;
  readonly onChange: (change: ConfigChange) => void;
  /** The file is wrong now: the node goes on with what it has. Called once for each wrong content. */
  readonly onInvalid: (error: Error) => void;
}

const SETTLE_MS = 100;
const REREAD_INTERVAL_MS = 10_000;
/** A file that is never the same twice in a row is judged as it is after this many readings. */
const READINGS_MAX = 20;

export class ConfigWatch {
  readonly #options: ConfigWatchOptions;
  readonly #watcher: FSWatcher;
  readonly #stopped = new AbortController();
  #config: Config;
  /** What was judged last: content, or the message of the error that reading it gave. */
  #lastSeen: string | undefined;
  #lastNeedsRestart: readonly OptionName[] = [];
  #reading: Promise<void> | undefined;
  #hintedMeanwhile = false;
  #timer: Timer | undefined;

  /** Watches the directory: a file that is replaced by a rename is another file. */
  constructor(options: ConfigWatchOptions) {
    this.#options = options;
    this.#config = options.config;
    const directory = dirname(resolve(options.input.file));
    const name = basename(options.input.file);
    this.#watcher = watch(directory, {
      depth: 0,
      persistent: false,
      // Without an event for what is there already, a change between load and watch would be missed.
      ignoreInitial: false,
      ignored: (path) => path !== directory && basename(path) !== name,
    });
    this.#watcher.on('all', () => this.#hint());
    // Too few inotify watches, for example: the slow way remains.
    this.#watcher.on('error', () => this.#hint());
    this.#hint();
  }

  /** What the node runs with. */
  get config(): Config {
    return this.#config;
  }

  async close(): Promise<void> {
    this.#stopped.abort(new Error('the watch was closed'));
    this.#timer?.cancel();
    await this.#watcher.close();
    await this.#reading;
  }

  #hint(): void {
    if (this.#stopped.signal.aborted) return;
    if (this.#reading !== undefined) {
      this.#hintedMeanwhile = true;
      return;
    }
    this.#timer?.cancel();
    this.#reading = this.#reload().finally(() => {
      this.#reading = undefined;
      if (this.#stopped.signal.aborted) return;
      if (this.#hintedMeanwhile) {
        this.#hintedMeanwhile = false;
        this.#hint();
      } else {
        this.#timer = this.#options.clock.setTimer(REREAD_INTERVAL_MS, () => this.#hint());
      }
    });
  }

  async #reload(): Promise<void> {
    const { input, onChange, onInvalid } = this.#options;
    const reading = await this.#settledReading();
    if (reading === undefined || reading.text === this.#lastSeen) return;
    this.#lastSeen = reading.text;
    if (reading.error !== undefined) {
      onInvalid(reading.error);
      return;
    }

    let loaded: Config;
    try {
      loaded = composeConfig(input, reading.text).values;
    } catch (error) {
      if (!isShiplogError(error, 'bad-config')) throw error;
      onInvalid(error);
      return;
    }

    const isChanged = (name: OptionName): boolean => !isDeepStrictEqual(loaded[name], this.#config[name]);
    const changed = OPTION_NAMES.filter(isChanged);
    const applied = changed.filter(isLive);
    const needsRestart = changed.filter((name) => !isLive(name));
    const isNews = applied.length > 0 || !isDeepStrictEqual(needsRestart, this.#lastNeedsRestart);
    this.#lastNeedsRestart = needsRestart;
    if (!isNews) return;
    this.#config = { ...this.#config, ...Object.fromEntries(applied.map((name) => [name, loaded[name]])) };
    onChange({ config: this.#config, applied, needsRestart });
  }

  /** The file once it holds still; undefined when the watch was closed meanwhile. */
  async #settledReading(): Promise<Reading | undefined> {
    let last = await this.#read();
    for (let count = 1; count < READINGS_MAX; count += 1) {
      try {
        await sleep(this.#options.clock, SETTLE_MS, this.#stopped.signal);
      } catch {
        return undefined;
      }
      const next = await this.#read();
      if (next.text === last.text) return next;
      last = next;
    }
    return last;
  }

  async #read(): Promise<Reading> {
    try {
      return { text: await readConfigFile(this.#options.disk, this.#options.input.file) };
    } catch (error) {
      return { text: `unreadable: ${(error as Error).message}`, error: error as Error };
    }
  }
}

interface Reading {
  readonly text: string;
  readonly error?: Error;
}
