/**
 * The fast path against the application behind Koa: the same bytes in, in the same pieces, have to bring the
 * same bytes out, and the same operations to the node. Only the date may differ.
 */
import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { expect } from 'chai';
import * as fc from 'fast-check';

import { BodyBudget, type BodyReservation } from '../../../lib/http/body-budget.ts';
import { FOREIGN_REASONS } from '../../../lib/http/fast/hot-request.ts';
import type { WriteRoute } from '../../../lib/node/node-api.ts';
import { TestServer } from '../test-server.ts';
import { hotRequest, oddRequest } from './request-arbitraries.ts';
import { StillNode } from './still-node.ts';

const REQUESTS_MIN = 50_000;
const CASE_COUNT = 22_800;
const LANES = 8;
/** A server that says nothing for so long waits for more. */
const QUIET_MS = 150;
const STATUS_LINE = /HTTP\/1\.1 \d{3} /;
const BUDGET_BYTES = 1_000_000;

/** What the node is like meanwhile. */
type Circumstance = 'primary' | 'follower' | 'redirecting' | 'not ready' | 'no memory' | 'client ends early';

/** Hot requests, then an odd one: with that the connection leaves the fast path. */
interface Case {
  readonly hot: readonly string[];
  readonly odd: string;
  /** Where the bytes of both are cut, as parts of 1,000. */
  readonly hotCuts: readonly number[];
  readonly oddCuts: readonly number[];
  /** The odd one is sent with the others rather than after their answers. */
  readonly isOddAtOnce: boolean;
  readonly circumstance: Circumstance;
}

const CUTS = fc.oneof(fc.constant([]), fc.array(fc.integer({ min: 0, max: 1_000 }), { minLength: 1, maxLength: 5 }));
const CASES: fc.Arbitrary<Case> = fc.record({
  hot: fc.oneof({ arbitrary: fc.array(hotRequest, { maxLength: 2 }), weight: 12 }, { arbitrary: fc.array(hotRequest, { maxLength: 30 }), weight: 1 }),
  odd: oddRequest,
  hotCuts: CUTS,
  oddCuts: CUTS,
  isOddAtOnce: fc.boolean(),
  circumstance: fc.oneof(
    { arbitrary: fc.constant<Circumstance>('primary'), weight: 20 },
    ...(['follower', 'redirecting', 'not ready', 'no memory', 'client ends early'] as const).map((each) => ({ arbitrary: fc.constant<Circumstance>(each), weight: 1 })),
  ),
});

/** Ends every case, unless something before has ended it. */
const LAST_REQUEST = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';

describe('the fast path', () => {
  let lanes: readonly Lane[] = [];

  after(() => Promise.all(lanes.map((lane) => lane.close())));

  it('answers whatever comes as the application does', async function () {
    this.timeout(240_000);
    lanes = await Promise.all(Array.from({ length: LANES }, () => Lane.open()));
    const totals = { requests: 0, odd: 0 };
    const cases = fc.sample(CASES, { numRuns: CASE_COUNT, seed: SEED });
    const queue = cases.values();
    await Promise.all(
      lanes.map(async (lane) => {
        for (const each of queue) {
          await lane.check(each);
          totals.requests += each.hot.length + 1;
          totals.odd += 1;
        }
      }),
    );

    const sums = sumOf(lanes);
    console.log(`      seed ${SEED}: ${totals.requests} requests, ${totals.odd} odd: ${sums.fast} answered by the fast path, ${sums.hotReads} of them from memory; ${sums.kept} cases leave the connection open, ${sums.retries} sent again`);
    console.log(`      handed over: ${[...sums.handOvers].map(([reason, count]) => `${reason} ${count}`).join(', ')}`);
    console.log(`      statuses: ${[...sums.statuses].toSorted(([one], [other]) => one - other).map(([status, count]) => `${status} ${count}`).join(', ')}`);
    expect(totals.requests).to.be.greaterThan(REQUESTS_MIN);
    expect(totals.odd).to.be.greaterThan(totals.requests * 0.35);
    expect(sums.fast).to.be.greaterThan(totals.requests * 0.25);
    expect(sums.hotReads, 'answered from memory').to.be.greaterThan(totals.requests * 0.03);
    expect(sums.retries).to.be.lessThan(cases.length / 100);
    for (const reason of [...FOREIGN_REASONS, 'role', 'memory', 'large-answer', 'half-closed'] as const) {
      expect(sums.handOvers.get(reason), `handed over: ${reason}`).to.be.greaterThan(10);
    }
    for (const status of [100, 200, 307, 400, 404, 405, 412, 413, 415, 500, 503, 507]) {
      expect(sums.statuses.get(status), `answered ${status}`).to.be.greaterThan(0);
    }
  });
});

/** Another one each time; what fails is shown as a whole, and comes again with its seed. */
const SEED = Number(process.env['FAST_PATH_SEED'] ?? Math.trunc(Math.random() * 2 ** 31));

/** A server with the fast path and one without. */
class Lane {
  readonly statuses = new Map<number, number>();
  readonly #sides: readonly [fast: Side, plain: Side];
  retries = 0;
  keptCount = 0;

  private constructor(sides: readonly [Side, Side]) {
    this.#sides = sides;
  }

  static async open(): Promise<Lane> {
    return new Lane([await Side.open(true), await Side.open(false)]);
  }

  get fastServer(): TestServer {
    return this.#sides[0].server;
  }

  /** Of rows in memory. */
  get hotReads(): number {
    return this.#sides[0].hotReads;
  }

  /** Sends a case again where the answers differ: of a connection that is cut, the end may get lost. */
  async check(each: Case): Promise<void> {
    const [fastSide, plainSide] = this.#sides;
    for (let attempt = 1; ; attempt += 1) {
      const [fast, plain] = await Promise.all([fastSide.sendAll(each), plainSide.sendApart(each)]);
      const isKept = keepsConnection(fast.answers, plain.answers);
      if ((isKept || fast.answers === plain.answers) && areParts(fast.written, plain.written)) {
        if (isKept) this.keptCount += 1;
        this.#count(fast);
        return;
      }
      if (attempt === 3) {
        expect({ ...fast, case: each }, `seed ${SEED}`).to.deep.equal({ ...plain, case: each });
        // Equal, where neither is to be a part of the other.
        expect.fail('unequal');
      }
      this.retries += 1;
    }
  }

  #count({ answers }: Outcome): void {
    for (const [, digits] of answers.matchAll(/HTTP\/1\.1 (\d{3}) /g)) {
      const status = Number(digits);
      this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#sides.map(({ server }) => server.stop()));
  }
}

interface Outcome {
  readonly answers: string;
  readonly written: readonly string[];
}

/** Requests behind the last answer may have been carried out or not; the application may change their order. */
function areParts(one: readonly string[], other: readonly string[]): boolean {
  const [few, many] = one.length < other.length ? [one, [...other]] : [other, [...one]];
  return few.every((each) => {
    const at = many.indexOf(each);
    if (at !== -1) many.splice(at, 1);
    return at !== -1;
  });
}

/**
 * An answer before the body has been parsed ends the connection. What was handed over is parsed as a whole
 * first: there, such an answer may leave the connection open.
 */
function keepsConnection(fast: string, plain: string): boolean {
  const ending = 'Connection: close\r\nDate: now\r\n';
  const at = plain.lastIndexOf(ending);
  if (at === -1 || !/HTTP\/1\.1 \d{3} [^\r]+\r\n(?:[\w-]+: [^\r]*\r\n)*$/.test(plain.slice(0, at))) return false;
  // The second where 100 Continue was awaited, and not sent.
  return ['Connection: keep-alive\r\nKeep-Alive: timeout=75\r\n', 'Connection: close\r\n'].some((lines) =>
    fast.startsWith(`${plain.slice(0, at)}Date: now\r\n${lines}${plain.slice(at + ending.length)}`),
  );
}

class Side {
  readonly server: TestServer;
  readonly #node: StillNode;
  readonly #budget: BodyBudget;

  private constructor(server: TestServer, node: StillNode, budget: BodyBudget) {
    this.server = server;
    this.#node = node;
    this.#budget = budget;
  }

  get hotReads(): number {
    return this.#node.hotReadCount;
  }

  static async open(isFast: boolean): Promise<Side> {
    const node = new StillNode();
    const requestBodies = new BodyBudget(BUDGET_BYTES);
    const server = await TestServer.start({ isFast, node, app: { requestBodies, lingerMs: 50 } });
    return new Side(server, node, requestBodies);
  }

  /** Everything over one connection. */
  sendAll({ hot, odd, hotCuts, oddCuts, isOddAtOnce, circumstance }: Case): Promise<Outcome> {
    const isEarly = circumstance === 'client ends early';
    return this.#outcome(circumstance, async () => {
      const connection = await Connection.open(this.server.port);
      await connection.send(hot.join(''), circumstance === 'primary' ? hotCuts : []);
      // Behind Koa, an odd request may end the connection before those that came earlier are answered.
      if (!isOddAtOnce || circumstance !== 'primary') await connection.untilAnswers(hot.length);
      return await connection.finish(odd, oddCuts, isEarly);
    });
  }

  /** The odd one over a connection of its own. */
  sendApart({ hot, odd, oddCuts, circumstance }: Case): Promise<Outcome> {
    const isEarly = circumstance === 'client ends early';
    return this.#outcome(circumstance, async () => {
      const first = await Connection.open(this.server.port);
      await first.send(hot.join(''), []);
      const before = await first.untilAnswers(hot.length);
      first.close();
      if (first.hasEnded || before.includes('\r\nConnection: close\r\n')) return before;
      const second = await Connection.open(this.server.port);
      return before + (await second.finish(odd, oddCuts, isEarly));
    });
  }

  async #outcome(circumstance: Circumstance, send: () => Promise<string>): Promise<Outcome> {
    this.#node.written.length = 0;
    const restore = this.#arrange(circumstance);
    const answers = await send();
    restore();
    return { answers: answers.replaceAll(/\r\nDate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n/g, '\r\nDate: now\r\n'), written: this.#node.written.map((each) => JSON.stringify(each)) };
  }

  #arrange(circumstance: Circumstance): () => void {
    const node = this.#node;
    const ordinary = node.route;
    let taken: BodyReservation | undefined;
    const routes: Partial<Record<Circumstance, WriteRoute>> = {
      follower: { kind: 'forward', primaryUrl: 'http://127.0.0.1:1' },
      redirecting: { kind: 'redirect', primaryUrl: 'http://127.0.0.1:1' },
    };
    node.route = routes[circumstance] ?? ordinary;
    node.ready = circumstance !== 'not ready';
    if (circumstance === 'no memory') {
      taken = this.#budget.open();
      // All of it: how much a request may find depends on when the one before it is answered.
      taken.growTo(BUDGET_BYTES - this.#budget.usedBytes);
    }
    return () => {
      node.route = ordinary;
      node.ready = true;
      taken?.release();
    };
  }
}

class Connection {
  readonly #socket: Socket;
  #text = '';
  #wake = (): void => {};
  hasEnded = false;

  private constructor(socket: Socket) {
    this.#socket = socket.setEncoding('latin1');
    socket.on('data', (chunk) => {
      this.#text += String(chunk);
      this.#wake();
    });
    for (const event of ['end', 'close', 'error']) {
      socket.on(event, () => {
        this.hasEnded = true;
        this.#wake();
      });
    }
  }

  static async open(port: number): Promise<Connection> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const connection = new Connection(socket);
    await once(socket, 'connect');
    // Until the server reads: what comes before that it gets in one piece.
    for (let count = 0; count < 4; count += 1) await turn();
    return connection;
  }

  async send(text: string, cuts: readonly number[]): Promise<void> {
    const bytes = Buffer.from(text, 'latin1');
    const places = [0, ...cuts.map((each) => Math.floor((each * bytes.length) / 1_000)), bytes.length].toSorted((one, other) => one - other);
    for (const [index, end] of places.slice(1).entries()) {
      if (end === places[index]) continue;
      if (this.#socket.writable) this.#socket.write(bytes.subarray(places[index], end));
      await turn();
      await turn();
    }
  }

  /** Resolves when so many answers have begun, or nothing more comes. */
  untilAnswers(count: number): Promise<string> {
    return this.#until(() => this.#text.split(STATUS_LINE).length > count);
  }

  /** Sends the odd request, and one that ends the connection. Resolves with all that came. */
  async finish(odd: string, cuts: readonly number[], isEarly: boolean): Promise<string> {
    await this.send(isEarly ? odd.slice(0, -1) : odd + LAST_REQUEST, cuts);
    if (isEarly) this.#socket.end();
    const text = await this.#until(() => false);
    this.close();
    return text;
  }

  close(): void {
    this.#socket.destroy();
  }

  #until(condition: () => boolean): Promise<string> {
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      this.#wake = () => {
        clearTimeout(timer);
        if (this.hasEnded || condition()) resolve(this.#text);
        else timer = setTimeout(() => resolve(this.#text), QUIET_MS);
      };
      this.#wake();
    });
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function sumOf(lanes: readonly Lane[]): { fast: number; hotReads: number; retries: number; kept: number; handOvers: Map<string, number>; statuses: Map<number, number> } {
  const sums = { fast: 0, hotReads: 0, retries: 0, kept: 0, handOvers: new Map<string, number>(), statuses: new Map<number, number>() };
  for (const { fastServer, hotReads, statuses, retries, keptCount } of lanes) {
    const { fastRequests, handOvers } = fastServer.listener.counts;
    sums.fast += fastRequests;
    sums.hotReads += hotReads;
    sums.retries += retries;
    sums.kept += keptCount;
    for (const [reason, count] of handOvers) sums.handOvers.set(reason, (sums.handOvers.get(reason) ?? 0) + count);
    for (const [status, count] of statuses) sums.statuses.set(status, (sums.statuses.get(status) ?? 0) + count);
  }
  return sums;
}
