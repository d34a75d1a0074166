/**
 * Three nodes, each started again and again in the same place with the flags that it was first started
 * with, whatever its role is by then. Who is the primary, they say themselves.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import type { SeededRandom } from '../support/seeded-random.ts';
import { withCompileCache } from './compile-cache.ts';
import { findFreePort } from './free-port.ts';
import { NodeLink } from './node-link.ts';
import { NodeProcess, SHIPLOG_MAIN, type StatusShown } from './node-process.ts';
import type { Workbench } from './workbench.ts';

const NAMES = ['one', 'two', 'three'] as const;
const SETTLED_TIMEOUT_MS = 60_000;
const POLL_INTERVAL_MS = 20;

/** One place of the three: the process in it changes. */
export interface Seat {
  readonly name: string;
  readonly dataDirectory: string;
  readonly url: string;
  /** Null where nodes reach each other directly. */
  readonly link: NodeLink | null;
  process: NodeProcess;
}

/** All three in one history, with nothing left to send. */
export interface SettledTrio {
  readonly primary: Seat;
  readonly replicas: readonly Seat[];
  readonly visibleLsn: number;
  /** Tag (`1.c04d`) of each epoch of the one history, by its number. */
  readonly epochTags: ReadonlyMap<number, string>;
}

export interface TrioOptions {
  readonly workbench: Workbench;
  readonly random: SeededRandom;
  readonly nodeEnvironment: NodeJS.ProcessEnv;
  /** Do nodes reach each other on links that can be cut? */
  readonly hasLinks: boolean;
}

export class TortureTrio {
  readonly seats: readonly Seat[];
  readonly #start: (seat: Omit<Seat, 'process'>) => NodeProcess;

  private constructor(seats: readonly Seat[], start: (seat: Omit<Seat, 'process'>) => NodeProcess) {
    this.seats = seats;
    this.#start = start;
  }

  /** Resolves when the first is the primary and both others follow it. */
  static async start({ workbench, random, nodeEnvironment, hasLinks }: TrioOptions): Promise<TortureTrio> {
    const environment = withCompileCache(nodeEnvironment, workbench, SHIPLOG_MAIN);
    const ports = new Set<number>();
    const freePort = async (): Promise<number> => {
      for (;;) {
        const port = await findFreePort(random);
        if (ports.has(port)) continue;
        ports.add(port);
        return port;
      }
    };
    const places: Omit<Seat, 'process'>[] = [];
    for (const name of NAMES) {
      const port = await freePort();
      const link = hasLinks ? await NodeLink.open(await freePort(), port) : null;
      places.push({ name, dataDirectory: workbench.path(name), url: `http://127.0.0.1:${port}`, link });
    }
    const firstUrl = places[0]!.link?.url ?? places[0]!.url;
    const start = ({ name, dataDirectory, url, link }: Omit<Seat, 'process'>): NodeProcess =>
      new NodeProcess({
        workbench,
        environment,
        name,
        dataDirectory,
        port: Number(new URL(url).port),
        ...(name === NAMES[0] ? {} : { followUrl: firstUrl }),
        ...(link === null ? {} : { advertiseUrl: link.url }),
      });
    const trio = new TortureTrio(places.map((place) => ({ ...place, process: start(place) })), start);
    await Promise.all(trio.seats.map((seat) => seat.process.ready()));
    await trio.settled();
    return trio;
  }

  get urls(): readonly string[] {
    return this.seats.map((seat) => seat.url);
  }

  /** Of the dead: with the flags of its first start. Only started, not ready yet. */
  restart(seat: Seat): void {
    seat.process = this.#start(seat);
  }

  /**
   * Resolves when one node is the primary, both others follow it, and all show the same position. To be
   * called while nothing is written. @throws Error with what they say, when it takes too long.
   */
  async settled(): Promise<SettledTrio> {
    const deadlineMs = performance.now() + SETTLED_TIMEOUT_MS;
    for (;;) {
      const statuses = await Promise.all(this.seats.map((seat) => seat.process.status().catch((error: Error) => error)));
      const settled = this.#judge(statuses);
      if (typeof settled !== 'string') return settled;
      if (performance.now() > deadlineMs) throw new Error(`the three nodes did not agree within ${SETTLED_TIMEOUT_MS} ms: ${settled}`);
      await sleep(POLL_INTERVAL_MS);
    }
  }

  /** @returns why not, where they have not settled. */
  #judge(statuses: readonly (StatusShown | Error)[]): SettledTrio | string {
    const shown = statuses.map((status, index) =>
      status instanceof Error ? `${this.seats[index]!.name}: ${status.message}` : `${status.name}: ${status.state} in epoch ${tagOf(status.epoch)} at ${status.positions.visible}`,
    );
    const positions = new Set<string>();
    const primaries: { readonly seat: Seat; readonly status: StatusShown }[] = [];
    for (const [index, status] of statuses.entries()) {
      if (status instanceof Error || (status.state !== 'primary' && status.state !== 'following')) return shown.join('; ');
      // The position alone has only four digits of the epoch's id.
      positions.add(`${status.epoch?.id} ${status.positions.visible}`);
      if (status.state === 'primary') primaries.push({ seat: this.seats[index]!, status });
    }
    const [primary] = primaries;
    if (positions.size > 1 || primaries.length !== 1 || primary === undefined) return shown.join('; ');
    return {
      primary: primary.seat,
      replicas: this.seats.filter((seat) => seat !== primary.seat),
      visibleLsn: Number(primary.status.positions.visible.split('-')[1]),
      epochTags: new Map(primary.status.history.map((epoch) => [epoch.number, tagOf(epoch)])),
    };
  }

  /** The replicas first: they take what the primary still has to send. */
  async stop({ primary, replicas }: SettledTrio): Promise<void> {
    for (const seat of [...replicas, primary]) await seat.process.stop();
    await this.closeLinks();
  }

  async closeLinks(): Promise<void> {
    for (const { link } of this.seats) await link?.close();
  }
}

function tagOf(epoch: { readonly number: number; readonly id: string } | null): string {
  return epoch === null ? 'none' : `${epoch.number}.${epoch.id.slice(0, 4)}`;
}
