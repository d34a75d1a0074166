/** A node that is a map: it honours NodeApi as far as http/ can tell, and remembers what it was asked. */
import { EpochHistory } from '../../lib/base/epoch-history.ts';
import { ShiplogError } from '../../lib/base/errors.ts';
import type { DataOperation, PutOperation } from '../../lib/base/operation.ts';
import { type Position, formatPosition } from '../../lib/base/position.ts';
import type { PromoteEvent, PromoteOptions } from '../../lib/failover/promote-events.ts';
import type { TransportRequest, TransportResponse } from '../../lib/env/transport.ts';
import type {
  BatchResult,
  BatchWrite,
  BatchWriteOutcome,
  ForwardedResponse,
  HotReads,
  NodeApi,
  NodeRole,
  NodeStatus,
  ReadResult,
  TableExport,
  Verdict,
  WriteCondition,
  WriteListener,
  WriteDurability,
  WriteResult,
  WriteRoute,
} from '../../lib/node/node-api.ts';

export class FakeNode implements NodeApi {
  readonly nodeId = 'f'.repeat(32);
  readonly nodeName = 'fake';
  readonly rows = new Map<string, ReadResult>();
  readonly forwarded: { readonly primaryUrl: string; readonly request: TransportRequest; readonly durability: WriteDurability }[] = [];

  role: NodeRole = 'primary';
  ready = true;
  route: WriteRoute = { kind: 'local' };
  verdict: Verdict = { ok: true, reason: 'all is well' };
  /** What `readiness` was asked with last. */
  askedLagMs: number | undefined;
  lsn = 41;
  /** Awaited in every write, before it happens. */
  beforeWrite: () => Promise<void> = () => Promise.resolve();
  forwardAnswer: (request: TransportRequest) => Promise<ForwardedResponse> = () =>
    Promise.reject(new ShiplogError('no-primary', 'no primary here'));
  serve: (request: TransportRequest) => Promise<TransportResponse> = () =>
    Promise.reject(new ShiplogError('not-ready', 'this fake serves nothing'));

  visiblePosition(): Position {
    return { epochNumber: 1, epochTag: 'c04d', lsn: this.lsn };
  }

  /** Nothing is in memory. */
  hotReads(): HotReads | undefined {
    return undefined;
  }

  read(key: string): ReadResult | undefined {
    if (!this.ready) throw new ShiplogError('not-ready', 'still loading the first snapshot');
    return this.rows.get(key);
  }

  readAll(keys: readonly string[], onValue: (value: string, index: number) => void = () => {}): readonly (ReadResult | undefined)[] {
    return keys.map((key, index) => {
      const found = this.read(key);
      if (found !== undefined) onValue(found.value, index);
      return found;
    });
  }

  writeRoute(): WriteRoute {
    if (!this.ready) throw new ShiplogError('not-ready', 'still loading the first snapshot');
    return this.route;
  }

  /** Positions up to `lsn` are there; for others this is awaited. */
  whenMissing: (position: Position, waitMs: number) => Promise<void> = (position) =>
    Promise.reject(new ShiplogError('position-not-reached', `not at ${formatPosition(position)}`));

  async waitFor(position: Position, waitMs: number): Promise<void> {
    if (position.lsn > this.lsn) await this.whenMissing(position, waitMs);
  }

  /** What the last write asked for. */
  askedDurability: WriteDurability = {};

  put(operation: PutOperation, listener: WriteListener): void {
    this.write(operation, {}).then(
      (result) => listener.onOther(result),
      (error: unknown) => listener.onFailed(error),
    );
  }

  async write(operation: DataOperation, condition: WriteCondition, durability: WriteDurability = {}): Promise<WriteResult> {
    this.askedDurability = durability;
    await this.beforeWrite();
    const current = this.rows.get(operation.key)?.position ?? null;
    if (!holds(condition, current)) return { outcome: 'precondition-failed', current };
    if (operation.kind === 'delete') {
      if (!this.rows.delete(operation.key)) return { outcome: 'absent' };
      this.lsn += 1;
      return this.#written(durability);
    }
    this.lsn += 1;
    this.rows.set(operation.key, { value: operation.value, position: this.visiblePosition() });
    return this.#written(durability);
  }

  /** Every batch that came here, written or not. */
  readonly batches: (readonly BatchWrite[])[] = [];

  /** Whether the last batch had to be synced. */
  askedSync = false;

  async writeBatch(writes: readonly BatchWrite[], durability: WriteDurability = {}, { awaitsSync = false }: { readonly awaitsSync?: boolean } = {}): Promise<BatchResult> {
    this.askedDurability = durability;
    this.askedSync = awaitsSync;
    this.batches.push(writes);
    await this.beforeWrite();
    for (const [index, { operation, condition }] of writes.entries()) {
      const current = this.rows.get(operation.key)?.position ?? null;
      if (!holds(condition, current)) return { outcome: 'precondition-failed', index, current };
    }
    const { ack = 'local' } = durability;
    const results = writes.map(({ operation }): BatchWriteOutcome => {
      if (operation.kind === 'delete' && !this.rows.delete(operation.key)) return { outcome: 'absent' };
      this.lsn += 1;
      if (operation.kind === 'put') this.rows.set(operation.key, { value: operation.value, position: this.visiblePosition() });
      return { outcome: 'written', position: ack === 'memory' ? null : this.visiblePosition() };
    });
    return { outcome: 'written', position: ack === 'memory' ? null : this.visiblePosition(), ack: ack === 'all' ? 2 : ack, results };
  }

  /** Called before each row that is exported. */
  beforeRow: () => Promise<void> = () => Promise.resolve();
  openExports = 0;

  exportTable(): Promise<TableExport> {
    if (!this.ready) throw new ShiplogError('not-ready', 'still loading the first snapshot');
    const rows = [...this.rows].map(([key, { value }]) => ({ key, value }));
    const { beforeRow } = this;
    this.openExports += 1;
    return Promise.resolve({
      clusterId: 'c'.repeat(32),
      position: this.visiblePosition(),
      rowCount: rows.length,
      rows: async function* (prefix: string) {
        for (const row of rows) {
          await beforeRow();
          if (row.key.startsWith(prefix)) yield row;
        }
      },
      close: () => {
        this.openExports -= 1;
        return Promise.resolve();
      },
    });
  }

  #written({ ack = 'local' }: WriteDurability): WriteResult {
    return { outcome: 'written', position: ack === 'memory' ? null : this.visiblePosition(), ack: ack === 'all' ? 2 : ack };
  }

  forward(primaryUrl: string, request: TransportRequest, durability: WriteDurability = {}): Promise<ForwardedResponse> {
    this.forwarded.push({ primaryUrl, request, durability });
    return this.forwardAnswer(request);
  }

  serveLog(request: TransportRequest): Promise<TransportResponse> {
    return this.serve(request);
  }

  serveSnapshot(request: TransportRequest): Promise<TransportResponse> {
    return this.serve(request);
  }

  servePeer(request: TransportRequest): Promise<TransportResponse> {
    return this.serve(request);
  }

  readonly promotions: PromoteOptions[] = [];

  async *promote(options: PromoteOptions): AsyncGenerator<PromoteEvent> {
    this.promotions.push(options);
    yield { type: 'refused', code: 'promotion-refused', message: 'this fake stays what it is', betterUrl: null, command: null };
  }

  forget(nodeIdOrName: string): Promise<void> {
    return Promise.reject(new ShiplogError('not-found', nodeIdOrName));
  }

  rejoin(): Promise<void> {
    return Promise.reject(new ShiplogError('bad-request', 'there is nothing to allow'));
  }

  freshStatus(): Promise<NodeStatus> {
    return Promise.resolve(this.status());
  }

  status(): NodeStatus {
    const position = formatPosition(this.visiblePosition());
    return {
      name: this.nodeName,
      nodeId: this.nodeId,
      version: '0.2.0',
      role: this.role,
      state: 'serving',
      url: 'http://127.0.0.1:4455',
      dataDirectory: 'data/fake',
      clusterId: 'c'.repeat(32),
      epoch: { number: 1, id: 'c04d'.repeat(8) },
      history: EpochHistory.EMPTY,
      positions: { appended: position, durable: position, visible: position, applied: position, checkpointed: position },
      uptimeMs: 1,
      upstream: null,
      members: [],
      followers: [],
      tasks: [],
      promise: null,
      fence: null,
      salvage: [],
      log: { segments: 1, bytes: 0, firstLsn: 1 },
    };
  }

  health(): Verdict {
    return this.verdict;
  }

  readiness(lagMsMax?: number): Verdict {
    this.askedLagMs = lagMsMax;
    return this.verdict;
  }

  metricsText(): Promise<{ readonly contentType: string; readonly text: string }> {
    return Promise.resolve({ contentType: 'text/plain; version=0.0.4; charset=utf-8', text: '# HELP shiplog_fake A fake.\n' });
  }
}

function holds({ ifMatch, ifNoneMatch }: WriteCondition, current: Position | null): boolean {
  return (ifMatch === undefined || names(ifMatch, current)) && (ifNoneMatch === undefined || !names(ifNoneMatch, current));
}

function names(wanted: '*' | readonly Position[], current: Position | null): boolean {
  if (current === null) return false;
  return wanted === '*' || wanted.some((each) => formatPosition(each) === formatPosition(current));
}
