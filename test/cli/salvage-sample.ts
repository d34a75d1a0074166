/** A salvage file in a directory, and a node over HTTP whose table has gone on since. */
import { mkdir, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { type FakeRoute, answerProblem, tableRoute } from '../client/fake-node.ts';

export const CLUSTER_ID = 'c1'.repeat(16);
export const OWN_EPOCH = { number: 1, id: `c04d${'0'.repeat(28)}` } as const;
export const FORK_LSN = 10;

export type SampleOperation = readonly ['put', key: string, value: string] | readonly ['delete', key: string] | readonly ['epoch-end'];

export interface SampleOptions {
  readonly operations: readonly SampleOperation[];
  readonly header?: object;
  /** Of the operations, where they are not in order. */
  readonly lsns?: readonly number[];
  /** What is left of the file. */
  readonly damage?: (text: string) => string;
}

/** The operations have the LSNs after the fork. @returns the file's name. */
export async function writeSample(dataDirectory: string, { operations, header = {}, lsns, damage = (text) => text }: SampleOptions): Promise<string> {
  const throughPosition = `1.c04d-${FORK_LSN + operations.length}`;
  const lines = [
    {
      format: 1,
      clusterId: CLUSTER_ID,
      nodeId: 'ab'.repeat(16),
      forkPosition: `1.c04d-${FORK_LSN}`,
      throughPosition,
      epochs: [{ ...OWN_EPOCH, firstLsn: 1, lastLsn: null, endChain: null }],
      openedEpoch: null,
      operations: operations.length,
      isComplete: true,
      completeAfterPosition: `1.c04d-${FORK_LSN}`,
      reason: null,
      generation: 'gen-000001',
      writtenAtMs: Date.UTC(2026, 0, 2, 3, 4, 5),
      ...header,
    },
    ...operations.map(([kind, key, value], index) => ({ position: `1.c04d-${lsns?.[index] ?? FORK_LSN + 1 + index}`, wallMs: 1_700_000_000_000, kind, key, value })),
  ];
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  const footer = { footer: true, operations: operations.length, crc32: crc32(text).toString(16).padStart(8, '0') };
  const name = `${throughPosition}.ndjson`;
  await mkdir(join(dataDirectory, 'salvage'), { recursive: true });
  await writeFile(join(dataDirectory, 'salvage', name), damage(`${text}${JSON.stringify(footer)}\n`));
  return name;
}

export interface LiveRow {
  readonly value: string;
  readonly position: string;
}

/** What a primary does with conditions, and nothing more. */
export class LiveTable {
  readonly rows: Map<string, LiveRow>;
  /** `POST /set/key?ack=1 "if-match"`: every write that arrived, and its condition. */
  readonly writes: string[] = [];
  /** May answer a write instead, or change the table just before it is carried out. */
  beforeWrite: (key: string, request: IncomingMessage, response: ServerResponse) => 'answered' | void = () => {};
  /** Members of the status document that are to be different. */
  status: object = {};
  #lsn = 100;

  constructor(rows: Readonly<Record<string, readonly [value: string, position: string]>> = {}) {
    this.rows = new Map(Object.entries(rows).map(([key, [value, position]]) => [key, { value, position }]));
  }

  get route(): FakeRoute {
    const others = (): FakeRoute => tableRoute({ name: 'live', clusterId: CLUSTER_ID, status: this.status });
    return (request, response, body) => {
      const [, verb, rawKey] = /^\/(get|set|del)\/([^?]*)/.exec(request.url!) ?? [];
      const key = decodeURIComponent(rawKey ?? '');
      if (verb === undefined) others()(request, response, body);
      else if (verb === 'get') this.#get(key, response);
      else this.#write(key, verb === 'set' ? (JSON.parse(body) as string) : undefined, request, response);
    };
  }

  set(key: string, value: string): string {
    this.#lsn += 1;
    const position = `2.5e5e-${this.#lsn}`;
    this.rows.set(key, { value, position });
    return position;
  }

  #get(key: string, response: ServerResponse): void {
    const row = this.rows.get(key);
    if (row === undefined) answerProblem(response, 404, 'not-found');
    else response.writeHead(200, { etag: `"${row.position}"` }).end(row.value);
  }

  #write(key: string, value: string | undefined, request: IncomingMessage, response: ServerResponse): void {
    const condition = request.headers['if-match'] ?? request.headers['if-none-match'] ?? 'none';
    this.writes.push(`${request.method} ${request.url} ${condition}`);
    if (this.beforeWrite(key, request, response) === 'answered') return;
    const row = this.rows.get(key);
    const holds = request.headers['if-none-match'] === '*' ? row === undefined : row !== undefined && condition === `"${row.position}"`;
    if (!holds) answerProblem(response, 412, 'precondition-failed');
    else if (value === undefined) {
      this.rows.delete(key);
      response.writeHead(200, { 'shiplog-position': `2.5e5e-${this.#lsn}` }).end('OK');
    } else response.writeHead(200, { etag: `"${this.set(key, value)}"` }).end('OK');
  }
}
