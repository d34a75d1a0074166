/**
 * The main thread's end of one worker thread of the store. Calls are carried out one after another,
 * in the order in which they were made.
 */
import { Worker } from 'node:worker_threads';
import { ERROR_KINDS, type ErrorCode, ShiplogError } from '../base/errors.ts';
import { DiskFullError } from '../env/disk.ts';
import {
  CLOSE_MESSAGE,
  type StoreCallMessage,
  type StoreCallName,
  type StoreCalls,
  type StoreReplyMessage,
} from './store-calls.ts';

interface PendingCall {
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

export class StoreThread {
  readonly #worker: Worker;
  readonly #pending = new Map<number, PendingCall>();
  readonly #exited: Promise<void>;
  #lastId = 0;
  /** Why no more calls are taken. */
  #ended: Error | undefined;

  /** `name` says in messages what the thread is for. */
  constructor(name: string) {
    this.#worker = new Worker(new URL('./sqlite-worker.ts', import.meta.url), { name: `store ${name}` });
    this.#worker.on('message', (reply: StoreReplyMessage) => this.#settle(reply));
    this.#worker.on('error', (error: unknown) => this.#end(failure(`the store's ${name} thread crashed`, error)));
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        this.#end(failure(`the store's ${name} thread ended with code ${code}`));
        resolve();
      });
    });
  }

  /** @throws ShiplogError, or DiskFullError after which the same call may be made again. */
  call<Name extends StoreCallName>(name: Name, request: StoreCalls[Name]['request']): Promise<StoreCalls[Name]['result']> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) {
        reject(this.#ended);
        return;
      }
      this.#lastId += 1;
      this.#pending.set(this.#lastId, { resolve, reject });
      this.#worker.postMessage({ id: this.#lastId, name, request } satisfies StoreCallMessage);
    });
  }

  /** Finishes what was asked for, closes the connection, ends the thread. May be called again. */
  close(): Promise<void> {
    if (this.#ended === undefined) {
      this.#ended = failure(`the store is closed`);
      this.#worker.postMessage(CLOSE_MESSAGE);
    }
    return this.#exited;
  }

  #settle(reply: StoreReplyMessage): void {
    const call = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (reply.outcome === 'done') call?.resolve(reply.result as never);
    else call?.reject(errorOf(reply.code, reply.message));
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const call of this.#pending.values()) call.reject(error);
    this.#pending.clear();
  }
}

/** What an error of SQLite means here, by its code. */
export function errorOf(code: string, message: string, cause?: unknown): Error {
  if (isDiskFull(code)) return new DiskFullError(`SQLite found no space: ${message}`, { cause });
  if (Object.hasOwn(ERROR_KINDS, code)) return new ShiplogError(code as ErrorCode, message, { cause });
  return failure(`${message} (${code})`, cause);
}

/**
 * SQLite says FULL for ENOSPC only. Its shared index file is extended without a reason given:
 * SHMSIZE can hardly mean anything else. (It says IOERR_WRITE for EDQUOT, as for a broken disk.)
 */
function isDiskFull(code: string): boolean {
  return code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_SHMSIZE' || code === 'ENOSPC' || code === 'EDQUOT';
}

function failure(message: string, cause?: unknown): ShiplogError {
  return new ShiplogError('store-failed', message, { cause });
}
