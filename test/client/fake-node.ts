/** An HTTP server that answers like a node, or as badly as a test wants. */
import { once } from 'node:events';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export type FakeRoute = (request: IncomingMessage, response: ServerResponse, body: string) => void;

export interface FakeNode {
  readonly url: string;
  readonly port: number;
  /** `GET /get/key`, in the order of arrival. */
  readonly requests: readonly string[];
  close(): Promise<void>;
}

export async function startFakeNode(route: FakeRoute): Promise<FakeNode> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    void text(request).then((body) => route(request, response, body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

export function answerProblem(response: ServerResponse, status: number, code: string, extra: object = {}): void {
  response.writeHead(status, { 'content-type': 'application/problem+json', ...(status === 503 ? { 'retry-after': '1' } : {}) });
  response.end(`${JSON.stringify({ type: 'about:blank', title: 'Refused', status, detail: `the detail of ${code}`, code, ...extra })}\n`);
}

export interface TableRouteOptions {
  readonly name?: string;
  readonly table?: Map<string, string>;
  /** What writes reach that ask for nothing; a node of 0.1 does not say it. */
  readonly ack?: string;
  readonly clusterId?: string;
  readonly members?: () => readonly string[];
  /** Members of the status document that are to be different. */
  readonly status?: object;
}

/** A node with a table in memory: get, set, del, status and digest. */
export function tableRoute(options: TableRouteOptions = {}): FakeRoute {
  const { name = 'fake', table = new Map<string, string>() } = options;
  let lsn = 1;
  return (request, response, body) => {
    const position = (): string => `1.c04d-${lsn}`;
    const [, verb, rawKey, query] = /^\/([a-z]+)\/?([^?]*)\??(.*)/.exec(request.url ?? '') ?? [];
    const key = decodeURIComponent(rawKey ?? '');
    const ack = new URLSearchParams(query).get('ack') ?? options.ack;
    response.setHeader('Shiplog-Position', position());
    if (verb === 'healthz') {
      response.end('ok\n');
    } else if (verb === 'get' && table.has(key)) {
      response.setHeader('ETag', `"${position()}"`);
      response.end(table.get(key));
    } else if (verb === 'set') {
      table.set(key, JSON.parse(body) as string);
      lsn += 1;
      if (ack !== undefined) response.setHeader('Shiplog-Ack', ack);
      if (ack !== 'memory') response.setHeader('ETag', `"${position()}"`);
      response.end('OK');
    } else if (verb === 'del' && table.delete(key)) {
      lsn += 1;
      if (ack !== undefined) response.setHeader('Shiplog-Ack', ack);
      response.setHeader('ETag', `"${position()}"`);
      response.end('OK');
    } else if (verb === 'status') {
      response.end(JSON.stringify(fakeStatus({ ...options, name }, position(), options.members?.() ?? [])));
    } else if (verb === 'peer') {
      response.end(JSON.stringify({ position: position(), lsn, chain: 7, rowCount: table.size, sha256: JSON.stringify([...table]) }));
    } else {
      answerProblem(response, 404, 'not-found');
    }
  };
}

function fakeStatus({ name, clusterId, status }: TableRouteOptions, position: string, members: readonly string[]): object {
  return {
    name,
    nodeId: name,
    version: '0.2.0',
    role: 'primary',
    state: 'primary',
    url: 'http://127.0.0.1:1',
    dataDirectory: '/somewhere/data',
    clusterId: clusterId ?? null,
    epoch: { number: 1, id: `c04d${'0'.repeat(28)}` },
    positions: { durable: position, visible: position, applied: position },
    uptimeMs: 90_000,
    upstream: null,
    members: members.map((url, index) => ({ nodeId: `member-${index}`, name: `member-${index}`, url, isSettled: true })),
    followers: [],
    tasks: [],
    promise: null,
    fence: null,
    salvage: [],
    ...status,
  };
}
