/** A log, for eyes and for programs: one line for each record. */
import { unreachable } from '../base/errors.ts';
import type { Operation } from '../base/operation.ts';
import { epochTagOf, formatPosition } from '../base/position.ts';
import { printable } from '../observe/printable.ts';
import type { ControlFrame } from '../replication/stream-protocol.ts';
import { type FrameHeader, lastLsnOf } from '../wal/frame.ts';
import type { Mark } from '../wal/mark.ts';
import type { Segment } from '../wal/segment.ts';
import type { Terminal } from './terminal.ts';

export interface LogPrinterOptions {
  readonly asJson: boolean;
  readonly withValues: boolean;
}

/** Years beyond this have no calendar. */
const CALENDAR_MS_MAX = 8.64e15;

export class LogPrinter {
  readonly #terminal: Terminal;
  readonly #options: LogPrinterOptions;
  /** A frame names its epoch by number alone; the ids stand in headers, epoch-begin records and heartbeats. */
  readonly #epochIds = new Map<number, string>();

  constructor(terminal: Terminal, options: LogPrinterOptions) {
    this.#terminal = terminal;
    this.#options = options;
  }

  segment({ path, header, sizeBytes }: Segment): void {
    const { clusterId, epoch, before, createdMs } = header;
    this.#epochIds.set(epoch.number, epoch.id);
    this.#line(
      { kind: 'segment', path, clusterId, epoch, afterLsn: before.lsn, chain: before.chain, createdMs, sizeBytes },
      ['-', 'segment', `${path}: ${sizeBytes} bytes, cluster ${clusterId}, after LSN ${before.lsn}, made ${readableTime(createdMs)}`],
    );
  }

  frame(header: FrameHeader, operations: readonly Operation[], frameBytes: number, offset?: number): void {
    const { firstLsn, epochNumber, operationCount, chain, wallMs } = header;
    for (const operation of operations) this.#noteEpochs(operation);
    const lastLsn = lastLsnOf(header);
    this.#line(
      { kind: 'frame', position: this.#position(epochNumber, firstLsn) ?? null, firstLsn, lastLsn, epochNumber, chain, wallMs, frameBytes, ...(offset === undefined ? {} : { offset }) },
      [
        this.#position(epochNumber, firstLsn) ?? untagged(epochNumber, firstLsn),
        'frame',
        `${operationCount === 1 ? '1 operation' : `${operationCount} operations, through LSN ${lastLsn}`}, ${frameBytes} bytes, chain ${hex(chain)}, ${readableTime(wallMs)}`,
      ],
    );
    for (const [index, operation] of operations.entries()) this.#operation(operation, epochNumber, firstLsn + index);
  }

  mark({ kind, durable }: Mark, offset: number): void {
    this.#line({ kind: 'mark', mark: kind, durableLsn: durable.lsn, chain: durable.chain, offset }, ['-', 'mark', `${kind}: durable through LSN ${durable.lsn}, chain ${hex(durable.chain)}`]);
  }

  control(control: ControlFrame): void {
    const { kind, ...content } = control;
    if (control.kind === 'heartbeat') this.#epochIds.set(control.epoch.number, control.epoch.id);
    this.#line({ kind: 'control', control: kind, ...content }, ['-', 'control', `${kind} ${JSON.stringify(content)}`]);
  }

  #operation(operation: Operation, epochNumber: number, lsn: number): void {
    const known = this.#position(epochNumber, lsn);
    const position = known ?? untagged(epochNumber, lsn);
    const head = { position: known ?? null, lsn };
    switch (operation.kind) {
      case 'put': {
        const { value, ...rest } = operation;
        const valueBytes = Buffer.byteLength(value);
        this.#line({ ...head, ...rest, valueBytes, ...(this.#options.withValues ? { value } : {}) }, [
          position,
          'put',
          operation.key,
          String(valueBytes),
          ...(this.#options.withValues ? [value] : []),
        ]);
        break;
      }
      case 'delete':
        this.#line({ ...head, ...operation }, [position, 'delete', operation.key]);
        break;
      case 'epoch-begin': {
        const { begin, epoch, parent, parentEnd } = operation;
        const origin = parent === null ? 'no parent' : `continues epoch ${parent.number} (${parent.id}) after LSN ${parentEnd.lsn}`;
        this.#line({ ...head, ...operation }, [position, operation.kind, `${begin}: epoch ${epoch.number} (${epoch.id}), ${origin}`]);
        break;
      }
      case 'epoch-end': {
        const { targetNodeId, nextEpoch } = operation;
        this.#line({ ...head, ...operation }, [position, operation.kind, `handed over to node ${targetNodeId}, for epoch ${nextEpoch.number} (${nextEpoch.id})`]);
        break;
      }
      default:
        unreachable(operation);
    }
  }

  #noteEpochs(operation: Operation): void {
    if (operation.kind !== 'epoch-begin') return;
    const { epoch, parent } = operation;
    this.#epochIds.set(epoch.number, epoch.id);
    if (parent !== null) this.#epochIds.set(parent.number, parent.id);
  }

  /** Undefined while the epoch's id is not known: a stream may begin in the middle of an epoch. */
  #position(epochNumber: number, lsn: number): string | undefined {
    const id = this.#epochIds.get(epochNumber);
    return id === undefined ? undefined : formatPosition({ epochNumber, epochTag: epochTagOf(id), lsn });
  }

  #line(document: Readonly<Record<string, unknown>>, columns: readonly string[]): void {
    this.#terminal.write(this.#options.asJson ? `${JSON.stringify(document)}\n` : `${columns.map(printable).join('\t')}\n`);
  }
}

/** For eyes only: it is no position that a node would take. */
function untagged(epochNumber: number, lsn: number): string {
  return `${epochNumber}.?-${lsn}`;
}

function hex(chain: number): string {
  return chain.toString(16).padStart(8, '0');
}

function readableTime(ms: number): string {
  return ms <= CALENDAR_MS_MAX ? new Date(ms).toISOString() : `${ms} ms`;
}
