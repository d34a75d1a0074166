/**
 * A replicated register that can't go wrong, small enough to see it: three nodes, each a list of operations.
 * It plays clients, replication, switchovers, failovers, forced promotions, and old primaries that go on
 * without knowing, and leaves a history behind of which every word is true. The tests of the checkers ask
 * for silence about such histories, and for noise about any lie that is put into them.
 */
import { assert } from '../../../lib/base/errors.ts';
import type { EpochBeginKind, Operation } from '../../../lib/base/operation.ts';
import { type Position, epochTagOf } from '../../../lib/base/position.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import type { HistoryRecord, HistoryTruth, LoggedOperation, MutationRecord, OpenedEpoch, ReadRecord, SalvageFile } from '../history-record.ts';
import { Lineages } from './lineages.ts';
import { nodeEndOf } from './small-history.ts';

export interface ModelHistory {
  readonly records: readonly HistoryRecord[];
  readonly truth: HistoryTruth;
}

export function playModel(seed: number, steps: number): ModelHistory {
  const model = new RegisterModel(seed);
  for (let step = 0; step < steps; step += 1) model.step();
  return model.end();
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };
type Draft = Mutable<MutationRecord> | Mutable<ReadRecord>;

interface ModelNode {
  readonly id: string;
  log: LoggedOperation[];
  /** The epoch in which it believes to be the primary. */
  reign: OpenedEpoch | undefined;
}

interface Session {
  readonly id: string;
  readonly node: ModelNode;
  /** What it has been told last. */
  seen: Position | null;
  pending: { readonly draft: Draft; isDone: boolean; lsn: number; reign: OpenedEpoch | undefined } | undefined;
}

const KEYS = ['a', 'b'];

class RegisterModel {
  readonly #random: SeededRandom;
  readonly #nodes: readonly ModelNode[];
  readonly #sessions: Session[] = [];
  readonly #records: Draft[] = [];
  readonly #epochs: OpenedEpoch[] = [];
  readonly #salvage: SalvageFile[] = [];
  #primary: ModelNode;
  #event = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    this.#nodes = ['n1', 'n2', 'n3'].map((id) => ({ id, log: [], reign: undefined }));
    this.#primary = this.#nodes[0]!;
    this.#open(this.#primary, 'first', 0);
    for (const node of this.#nodes) node.log = [...this.#primary.log];
    for (let index = 0; index < 5; index += 1) this.#sessions.push({ id: `c${index}`, node: this.#random.pick(this.#nodes), seen: null, pending: undefined });
  }

  step(): void {
    const dice = this.#random.uniform();
    if (dice < 0.2) this.#replicate(this.#random.pick(this.#nodes));
    else if (dice < 0.22) this.#promote();
    else if (dice < 0.24) this.#rejoin(this.#random.pick(this.#nodes));
    else this.#goOn(this.#random.below(this.#sessions.length));
  }

  /** Heals everything. */
  end(): ModelHistory {
    for (const session of this.#sessions) if (session.pending !== undefined) this.#giveUp(session);
    for (const node of this.#nodes) {
      this.#rejoin(node);
      node.log = [...this.#primary.log];
    }
    const { log } = this.#primary;
    const truth = { log, epochs: this.#epochs, salvage: this.#salvage, nodes: this.#nodes.map(({ id }) => nodeEndOf(id, log)), ruins: [] };
    return { records: this.#records, truth };
  }

  // ——— clients ———

  #goOn(index: number): void {
    const session = this.#sessions[index]!;
    const { pending } = session;
    if (pending === undefined) this.#begin(session);
    else if (!pending.isDone) this.#carryOut(session);
    else if (this.#random.chance(0.05)) this.#giveUp(session);
    else this.#answer(session);
    // A client that got no answer goes on as another one: nobody knows when the old operation ends.
    if (pending !== undefined && pending.draft.endedAt === null && session.pending === undefined) {
      this.#sessions[index] = { id: `${session.id}'`, node: this.#random.pick(this.#nodes), seen: session.seen, pending: undefined };
    }
  }

  #begin(session: Session): void {
    const random = this.#random;
    const id = this.#records.length + 1;
    const isWrite = session.node.reign !== undefined && random.chance(0.6);
    const common = { id, clientId: session.id, nodeId: session.node.id, key: random.pick(KEYS), invokedAt: this.#next(), endedAt: null, position: null };
    const mutation = { ackAsked: random.pick(['local', 1, 2] as const), ackReached: null, outcome: 'unknown', minPosition: null } as const;
    const draft: Draft = !isWrite
      ? { ...common, kind: 'read', value: null, outcome: 'unknown', role: null, keyPosition: null, minPosition: random.chance(0.6) ? session.seen : null }
      : random.chance(0.75)
        ? { ...common, ...mutation, kind: 'write', value: `v${id}` }
        : { ...common, ...mutation, kind: 'delete', value: null };
    this.#records.push(draft);
    session.pending = { draft, isDone: false, lsn: 0, reign: undefined };
  }

  /** The one moment in which it happens. */
  #carryOut(session: Session): void {
    const pending = session.pending!;
    const { draft } = pending;
    const { node } = session;
    pending.isDone = true;
    pending.reign = node.reign;
    const shown = this.#endOf(node.log);
    const last = node.log.findLast(({ operation }) => (operation.kind === 'put' || operation.kind === 'delete') && operation.key === draft.key);
    const value = last?.operation.kind === 'put' ? last.operation.value : null;
    if (draft.kind === 'read') {
      const min = draft.minPosition;
      if (min !== null && !this.#lineages().includes(shown, min)) {
        draft.outcome = this.#isLostFor(node, min) ? 'position-lost' : 'not-reached';
        return;
      }
      Object.assign(draft, { outcome: value === null ? 'not-found' : 'ok', value, role: node.reign === undefined ? 'replica' : 'primary', position: shown });
      if (value !== null) draft.keyPosition = this.#positionIn(node.log, last!.lsn);
    } else if (node.reign === undefined) {
      draft.outcome = 'failed';
    } else if (draft.kind === 'delete' && value === null) {
      Object.assign(draft, { outcome: 'not-found', position: shown });
    } else {
      this.#append(node, draft.kind === 'write' ? { kind: 'put', key: draft.key, value: draft.value! } : { kind: 'delete', key: draft.key });
      pending.lsn = node.log.length;
    }
  }

  #answer(session: Session): void {
    const { draft, lsn, reign } = session.pending!;
    const { node } = session;
    if (draft.kind !== 'read' && lsn > 0) {
      // Fenced since: nobody is told anything certain any more.
      if (node.reign !== reign) return this.#giveUp(session);
      const position = this.#positionIn(node.log, lsn);
      const confirmed = this.#nodes.filter((other) => other !== node && this.#follows(other, node) && this.#lineages().includes(this.#endOf(other.log), position)).length;
      const asked = draft.ackAsked === 'local' ? 0 : (draft.ackAsked as number);
      if (confirmed < asked && this.#random.chance(0.6)) return;
      draft.position = position;
      if (confirmed < asked) draft.outcome = 'ack-timeout';
      else Object.assign(draft, { outcome: 'ok', ackReached: asked === 0 ? 'local' : confirmed });
    }
    draft.endedAt = this.#next();
    if (draft.position !== null) session.seen = draft.position;
    if (draft.outcome === 'position-lost') session.seen = null;
    session.pending = undefined;
  }

  #giveUp(session: Session): void {
    const { draft } = session.pending!;
    Object.assign(draft, { outcome: 'unknown', position: null }, draft.kind === 'read' ? { value: null, role: null, keyPosition: null } : {});
    session.pending = undefined;
  }

  // ——— nodes ———

  /** Takes a stretch of the primary's log, where its own is a part of it. */
  #replicate(node: ModelNode): void {
    if (node.reign !== undefined || !this.#follows(node, this.#primary)) return;
    const missing = this.#primary.log.length - node.log.length;
    if (missing > 0) node.log.push(...this.#primary.log.slice(node.log.length, node.log.length + 1 + this.#random.below(missing)));
  }

  #follows(node: ModelNode, primary: ModelNode): boolean {
    if (primary !== this.#primary || node.reign !== undefined) return false;
    return this.#lineages().includes(this.#endOf(primary.log), this.#endOf(node.log));
  }

  #promote(): void {
    const old = this.#primary;
    const replicas = this.#nodes.filter((node) => this.#follows(node, old));
    if (replicas.length === 0) return;
    const furthest = replicas.toSorted((a, b) => b.log.length - a.log.length)[0]!;
    // Not forced, it takes the promises of all but the primary; an older primary that still reigns gives none.
    const haveAllPromised = replicas.length === this.#nodes.length - 1;
    const kind = this.#random.pick(haveAllPromised ? (['switchover', 'failover', 'forced'] as const) : (['switchover', 'forced'] as const));
    const target = kind === 'failover' ? furthest : this.#random.pick(replicas);
    if (kind === 'switchover') {
      target.log = [...old.log];
      old.reign = undefined;
    }
    // Otherwise the old primary is cut off, knows nothing, and reigns on until it rejoins.
    this.#primary = target;
    this.#open(target, kind, kind === 'forced' ? furthest.log.length - target.log.length : 0);
  }

  /** A node whose log has left the primary's sets the rest aside and begins anew; an old primary steps down. */
  #rejoin(node: ModelNode): void {
    if (node === this.#primary) return;
    node.reign = undefined;
    const own = this.#endOf(node.log);
    const end = this.#endOf(this.#primary.log);
    if (this.#lineages().includes(end, own)) return;
    const operations = node.log
      .map(({ lsn, operation }) => ({ position: this.#positionIn(node.log, lsn), operation }))
      .filter((each): each is SalvageFile['operations'][number] => (each.operation.kind === 'put' || each.operation.kind === 'delete') && !this.#lineages().includes(end, each.position));
    const forkLsn = node.log.findLastIndex(({ lsn }) => this.#lineages().includes(end, this.#positionIn(node.log, lsn))) + 1;
    this.#salvage.push({ nodeId: node.id, name: `${own.epochNumber}-${own.lsn}.ndjson`, isComplete: true, forkLsn, throughPosition: own, operations });
    node.log = [...this.#primary.log];
  }

  #open(node: ModelNode, begin: EpochBeginKind, givenUp: number): void {
    const number = this.#epochs.length + 1;
    const parentId = node.log.at(-1)?.epochId;
    const parent = this.#epochs.find((opened) => opened.epoch.id === parentId)?.epoch ?? null;
    const epoch = { number, id: number.toString(16).padStart(4, '0').repeat(8) };
    const isForced = begin === 'forced';
    const opened: OpenedEpoch = { epoch, parent, begin, firstLsn: node.log.length + 1, nodeId: node.id, openedAt: this.#next(), acceptedLoss: isForced ? givenUp : 0, announcedLsn: isForced ? node.log.length + givenUp : null, safeAck: null };
    this.#epochs.push(opened);
    node.reign = opened;
    this.#append(node, { kind: 'epoch-begin', begin, epoch, parent, parentEnd: { lsn: node.log.length, chain: 0 }, acceptedLoss: opened.acceptedLoss });
  }

  #append(node: ModelNode, operation: Operation): void {
    const lsn = node.log.length + 1;
    node.log.push({ lsn, epochId: node.reign!.epoch.id, frameLsn: lsn, operation });
  }

  // ——— positions ———

  #next(): number {
    return (this.#event += 1);
  }

  /** Only for its arithmetic of epochs. */
  #lineages(): Lineages {
    return new Lineages({ log: [], epochs: this.#epochs, salvage: [], nodes: [], ruins: [] });
  }

  #endOf(log: readonly LoggedOperation[]): Position {
    return this.#positionIn(log, log.length);
  }

  #positionIn(log: readonly LoggedOperation[], lsn: number): Position {
    const { epochId } = log[lsn - 1]!;
    const opened = this.#epochs.find(({ epoch }) => epoch.id === epochId);
    assert(opened !== undefined, 'every operation is of an epoch that was opened');
    return { epochNumber: opened.epoch.number, epochTag: epochTagOf(epochId), lsn };
  }

  /** The node's history has a later epoch, and not this position. */
  #isLostFor(node: ModelNode, position: Position): boolean {
    return this.#endOf(node.log).epochNumber > position.epochNumber;
  }
}
