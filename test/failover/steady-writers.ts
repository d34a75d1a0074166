/** Clients that write all the time, each through a node of its own, and remember what they were told. */
import { type Clock, sleep } from '../../lib/env/clock.ts';
import type { Position } from '../../lib/base/position.ts';
import type { Node } from '../../lib/node/node.ts';
import { write } from '../scenarios/client.ts';
import type { ToldWrite } from '../scenarios/journal.ts';

/** What a client writes through. */
export interface Entrance {
  readonly name: string;
  /** Undefined while it is down. */
  readonly node: Node | undefined;
  /** Resolves when the process that runs now is gone. */
  readonly gone: Promise<unknown>;
}

/** A client that was refused tries again a little later. */
const REFUSED_PAUSE_MS = 50;
const ACK_TIMEOUT_MS = 2_000;

export class SteadyWriters {
  /** Each was confirmed by a replica. */
  readonly acknowledged: ToldWrite[] = [];
  /** What must never be seen; empty where all is well. */
  readonly violations: string[] = [];
  pauseMs = 10;
  readonly #clock: Clock;
  #epochNumberMax = 0;
  #isOver = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** One write at a time through this node, until `end`. */
  begin(entrance: Entrance): void {
    void this.#writeOn(entrance);
  }

  end(): void {
    this.#isOver = true;
  }

  /** How many writes through this node were acknowledged. */
  countOf({ name }: Entrance): number {
    return this.acknowledged.filter(({ key }) => key.startsWith(name)).length;
  }

  async #writeOn(entrance: Entrance): Promise<void> {
    for (let count = 1; !this.#isOver; count += 1) {
      const key = `${entrance.name}${count}`;
      const isTaken = entrance.node !== undefined && (await Promise.race([this.#write(entrance.node, key), entrance.gone.then(() => false)]));
      await sleep(this.#clock, isTaken ? this.pauseMs : Math.max(this.pauseMs, REFUSED_PAUSE_MS));
    }
  }

  async #write(node: Node, key: string): Promise<boolean> {
    const epochNumberBefore = this.#epochNumberMax;
    const value = `value of ${key}`;
    try {
      const { position, replicas } = await write(node, { kind: 'put', key, value }, { ack: 1, timeoutMs: ACK_TIMEOUT_MS });
      this.acknowledged.push({ key, value, position, replicas });
      this.#judge(key, position!, epochNumberBefore);
      return true;
    } catch {
      // Nothing was promised: whether it is found in the end does not matter.
      return false;
    }
  }

  /** Once a primary has acknowledged something, no earlier one takes and acknowledges anything any more. */
  #judge(key: string, { epochNumber }: Position, epochNumberBefore: number): void {
    if (epochNumber < epochNumberBefore) this.violations.push(`${key} was taken and acknowledged in epoch ${epochNumber}, after one of epoch ${epochNumberBefore} had been`);
    this.#epochNumberMax = Math.max(this.#epochNumberMax, epochNumber);
  }
}
