import { expect } from 'chai';

import { LIMITS } from '../../lib/base/limits.ts';
import type { Clock } from '../../lib/env/clock.ts';
import { type AppOptions, createApp } from '../../lib/http/app.ts';
import { BodyBudget } from '../../lib/http/body-budget.ts';
import { HttpListener, type ListenerLimits } from '../../lib/http/listener.ts';
import { OpenStreams } from '../../lib/http/open-streams.ts';
import { WriteGuard } from '../../lib/http/write-guard.ts';
import type { LogFields, Logger } from '../../lib/observe/logger.ts';
import { FakeNode } from './fake-node.ts';
import { type RawAnswer, RawClient } from './raw-client.ts';
import { RunningClock } from './test-clock.ts';

export interface TestServerOptions {
  readonly clock?: Clock;
  readonly app?: Partial<AppOptions>;
  readonly limits?: Partial<ListenerLimits>;
  /** Default: with the fast path, as it is served. */
  readonly isFast?: boolean;
  readonly node?: FakeNode;
}

/** A real listener with the real application around a fake node. */
export class TestServer {
  readonly node: FakeNode;
  readonly listener: HttpListener;
  readonly streams: OpenStreams;
  readonly port: number;
  /** What was logged as an error. */
  readonly errors: { readonly message: string; readonly fields: LogFields | undefined }[];

  private constructor(parts: Pick<TestServer, 'node' | 'listener' | 'streams' | 'port' | 'errors'>) {
    this.node = parts.node;
    this.listener = parts.listener;
    this.streams = parts.streams;
    this.port = parts.port;
    this.errors = parts.errors;
  }

  static async start({ clock = new RunningClock(), app = {}, limits = {}, isFast = true, node = new FakeNode() }: TestServerOptions = {}): Promise<TestServer> {
    const streams = new OpenStreams();
    const errors: { message: string; fields: LogFields | undefined }[] = [];
    const logger: Logger = {
      debug: () => {},
      info: () => {},
      warn: () => {},
      error: (message, fields) => void errors.push({ message, fields }),
    };
    const requestBodies = app.requestBodies ?? new BodyBudget(LIMITS.requestBodiesBytesMax);
    const handler = createApp({ node, clock, logger, streams, ...app, requestBodies }).callback();
    const guard = new WriteGuard(app.allowedHosts ?? []);
    const fast = isFast ? { fast: { node, requestBodies, guard: () => guard } } : {};
    const listener = new HttpListener({ host: '127.0.0.1', port: 0, handler, streams, clock, logger, limits, ...fast });
    const { port } = await listener.listen();
    return new TestServer({ node, listener, streams, port, errors });
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${this.url}${path}`, { redirect: 'manual', ...init });
  }

  post(path: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}): Promise<Response> {
    return this.fetch(path, { method: 'POST', body, headers: { 'content-type': 'text/plain', ...headers } });
  }

  open(): Promise<RawClient> {
    return RawClient.open(this.port);
  }

  /** Sends bytes over a connection of their own and reads the first answer. */
  async raw(bytes: string | Buffer): Promise<RawAnswer | undefined> {
    const client = await this.open();
    await client.send(bytes);
    const answer = await client.answer();
    client.close();
    return answer;
  }

  /** Whatever was sent before: the server is still there and answers. */
  async expectAlive(): Promise<void> {
    const key = `alive-${this.node.lsn}`;
    const set = await this.post(`/set/${key}`, 'yes');
    expect(await set.text()).to.equal('OK');
    const get = await this.fetch(`/get/${key}`);
    expect(await get.text()).to.equal('yes');
  }

  async stop(): Promise<void> {
    await this.listener.close({ graceMs: 200 });
  }
}

/** Asserts a proper problem document and returns it. */
export async function problemOf(response: Response, status: number, code: string): Promise<Record<string, unknown>> {
  return checkProblem(response.status, response.headers.get('content-type'), await response.text(), status, code);
}

export function rawProblemOf(answer: RawAnswer | undefined, status: number, code: string): Record<string, unknown> {
  expect(answer, 'an answer').not.to.equal(undefined);
  return checkProblem(answer!.status, answer!.headers['content-type'], answer!.body, status, code);
}

function checkProblem(gotStatus: number, type: string | null | undefined, body: string, status: number, code: string): Record<string, unknown> {
  expect(gotStatus, body).to.equal(status);
  expect(type).to.equal('application/problem+json');
  expect(body).to.match(/^[^\n]+\n$/);
  const problem = JSON.parse(body) as Record<string, unknown>;
  expect(problem).to.include({ status, code, type: `urn:shiplog:error:${code}` });
  expect(problem['title']).to.be.a('string').that.is.not.empty;
  expect(problem['detail']).to.be.a('string').that.is.not.empty;
  expect(body).not.to.match(/node_modules|\.ts:\d/);
  return problem;
}
