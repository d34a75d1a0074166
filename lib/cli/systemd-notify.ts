/**
 * Tells systemd how the service is (Type=notify, NotifyAccess=all). Node has no Unix datagram
 * sockets, so the program `systemd-notify` carries each message. Without NOTIFY_SOCKET, silence.
 */
import { spawn } from 'node:child_process';
import type { Clock, Timer } from '../env/clock.ts';

export interface SystemdNotifyOptions {
  readonly clock: Clock;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
  /** A message did not get through: systemd may give the service up. */
  readonly onFailure: (message: string) => void;
}

export class SystemdNotify {
  readonly #options: SystemdNotifyOptions;
  readonly #isAsked: boolean;
  /** Undefined where there is no watchdog. */
  readonly #watchdogIntervalMs: number | undefined;
  #timer: Timer | undefined;

  constructor(options: SystemdNotifyOptions) {
    const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: microseconds, WATCHDOG_PID: watchdogPid } = options.variables;
    this.#options = options;
    this.#isAsked = (socket ?? '') !== '';
    const isForUs = (watchdogPid ?? '') === '' || watchdogPid === String(options.pid);
    // Half of the limit leaves room for one late message.
    const intervalMs = Number(microseconds) / 2_000;
    this.#watchdogIntervalMs = isForUs && intervalMs > 0 ? intervalMs : undefined;
  }

  /** The service is up; from here on the watchdog is fed for as long as the event loop turns. */
  async ready(status: string): Promise<void> {
    await this.#send('READY=1', `STATUS=${status}`);
    if (this.#isAsked && this.#watchdogIntervalMs !== undefined) this.#feed(this.#watchdogIntervalMs);
  }

  async stopping(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.#send('STOPPING=1');
  }

  #feed(intervalMs: number): void {
    this.#timer = this.#options.clock.setTimer(intervalMs, () => {
      this.#feed(intervalMs);
      void this.#send('WATCHDOG=1');
    });
  }

  /** Never rejects. */
  #send(...assignments: readonly string[]): Promise<void> {
    if (!this.#isAsked) return Promise.resolve();
    return new Promise((resolve) => {
      const complain = (reason: string): void => {
        this.#options.onFailure(`systemd-notify ${assignments[0]}: ${reason}`);
        resolve();
      };
      const child = spawn('systemd-notify', [...assignments], { stdio: 'ignore' });
      child.once('error', (error) => complain(error.message));
      child.once('exit', (code) => (code === 0 ? resolve() : complain(`exit code ${code}`)));
    });
  }
}
