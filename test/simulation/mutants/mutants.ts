/**
 * Each safeguard, taken away once. A mutant changes the product's text as a module is loaded
 * (load-mutant.ts), or lets the machine lie (SimulationMutation); the product itself has no switch. What
 * has to catch it is a verdict of the simulation's judges, not an assertion beside the change.
 *
 * `B1` … are bugs that really happened in systems like this; each entry says which.
 */
import type { Batch } from '../../../lib/base/operation.ts';
import type { Store } from '../../../lib/store/store.ts';
import type { MemoryStore } from '../../support/memory-store.ts';
import type { SimulationMutation } from '../mutation.ts';
import type { ProfileName } from '../plan.ts';

export interface Edit {
  /** Below lib/. */
  readonly file: string;
  /** Occurs exactly once. */
  readonly from: string;
  readonly to: string;
}

export interface Mutant {
  readonly name: string;
  readonly bug: string;
  /** What the cluster does wrong then. */
  readonly story: string;
  readonly edits?: readonly Edit[];
  readonly environment?: Omit<SimulationMutation, 'name'>;
  readonly profile?: ProfileName;
  /** A seed that catches it: where CI begins to look. */
  readonly caughtAt: number;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'answer-before-sync',
    bug: 'B1',
    story: 'the log reports a group as durable without having synced it',
    edits: [{ file: 'wal/wal.ts', from: '    await this.#sync(file);\n  }\n\n  async #sync(', to: '  }\n\n  async #sync(' }],
    caughtAt: 1,
  },
  {
    name: 'cached-tail-trusted',
    bug: 'B3',
    story: 'recovery serves what it read without writing it again and syncing it',
    edits: [{ file: 'wal/wal-recovery.ts', from: '      if (isLast) await rewriteLastGroup(file, lastGroupOffset, segment.sizeBytes);\n', to: '      void (isLast ? lastGroupOffset : rewriteLastGroup);\n' }],
    profile: 'swarm',
    caughtAt: 46,
  },
  {
    name: 'sent-before-durable',
    bug: 'B4',
    story: 'a group is handed to followers before it is synced',
    edits: [
      { file: 'wal/wal.ts', from: '    await this.#writeDurably(group.bytes);\n', to: '' },
      { file: 'wal/wal.ts', from: '    return group.batches;\n', to: '    await this.#writeDurably(group.bytes);\n    return group.batches;\n' },
      { file: 'wal/wal.ts', from: '    const offset = this.#segments.at(-1)!.sizeBytes;\n    try {', to: '    const offset = this.#segments.at(-1)!.sizeBytes - bytes.length;\n    try {' },
    ],
    caughtAt: 1,
  },
  {
    name: 'directory-not-synced',
    bug: 'B6',
    story: 'the disk forgets names: syncs of directories are not carried out',
    environment: { diskFault: (call) => (call.name === 'syncDirectory' ? { kind: 'lie' } : undefined) },
    caughtAt: 2,
  },
  {
    name: 'rows-do-not-come-with-their-position',
    bug: 'B9',
    story: 'a transaction of the store moves the applied position, and leaves a row out',
    environment: { wrapStore: (store) => withLostRows(store) },
    caughtAt: 1,
  },
  {
    name: 'log-deleted-before-the-table-is-durable',
    bug: 'B10',
    story: 'the log is cut at a checkpoint that has not made the table durable',
    environment: { wrapStore: (store) => withoutCheckpoints(store) },
    caughtAt: 17,
  },
  {
    name: 'lagging-replica-promoted',
    bug: 'B12',
    story: 'a failover does not look whether somebody is further',
    edits: [
      { file: 'failover/promotion-plan.ts', from: '  if (better !== undefined) {\n', to: '  if (better !== undefined && own.history.current === undefined) {\n' },
      { file: 'failover/promotion-plan.ts', from: '  if (announcedLsn > own.end.lsn) {\n', to: '  if (announcedLsn > own.end.lsn && own.history.current === undefined) {\n' },
    ],
    caughtAt: 21,
  },
  {
    name: 'later-promise-ends-an-earlier-one',
    bug: 'B13',
    story: 'giving up its own promotion, a node forgets to whom else it is promised',
    edits: [{ file: 'failover/promise-book.ts', from: '    await this.#withdraw(({ epoch }) => epoch.id === epochId);\n', to: '    await this.#withdraw(({ epoch }) => epoch.id !== `not ${epochId}`);\n' }],
    profile: 'swarm',
    caughtAt: 848,
  },
  {
    name: 'writes-after-the-end-of-the-epoch',
    bug: 'B13',
    story: 'a primary that has handed over goes on taking writes',
    edits: [
      { file: 'role/role-machine.ts', from: "    'epoch-ended': { to: 'handed-over', effects: [] },\n", to: "    'epoch-ended': PRIMARY,\n" },
      { file: 'wal/history-check.ts', from: "  if (ended !== undefined && first?.kind !== 'epoch-begin') {\n", to: '  if (ended !== undefined && firstLsn < 0) {\n' },
    ],
    caughtAt: 1,
  },
  {
    name: 'fencing-ignored',
    bug: 'B13',
    story: 'a primary that was told of a later epoch goes on acknowledging',
    edits: [{ file: 'failover/failover.ts', from: '    const verdict = judgePeer(own, peer);\n    const who', to: "    const verdict = judgePeer(own, { ...peer, clusterId: null });\n    const who" }],
    caughtAt: 3,
  },
  {
    name: 'handshake-judges-by-number',
    bug: 'B14',
    story: 'a follower with another history is let in as long as its LSN is not above ours',
    edits: [
      { file: 'replication/handshake.ts', from: '  if (claim.epochId !== undefined) {\n', to: '  if (claim.epochId === "never") {\n' },
      { file: 'replication/log-sender.ts', from: '    if (chain === undefined || chain === point.chain) return;\n', to: '    if (chain === undefined || afterLsn >= 0) return;\n    void point;\n' },
      { file: 'wal/wal.ts', from: '  if (chain !== header.chain) {\n    // Not', to: '  if (chain < 0) {\n    // Not' },
    ],
    profile: 'swarm',
    caughtAt: 235,
  },
  {
    name: 'epoch-ids-from-numbers',
    bug: 'B15',
    story: 'two nodes mint the same epoch, id and all',
    edits: [{ file: 'failover/promotion.ts', from: 'epoch: { number, id: randomId(this.#host.environment.random) }', to: "epoch: { number, id: number.toString(16).padStart(4, '0').padEnd(32, 'e') }" }],
    profile: 'swarm',
    caughtAt: 220,
  },
  {
    name: 'fork-from-watermarks',
    bug: 'B16',
    story: 'a former primary cuts where the smaller of both logs ends, not where the histories part',
    edits: [{ file: 'failover/judge-peer.ts', from: '  return forkPoint(own.history, own.end.lsn, peer.history, Number.MAX_SAFE_INTEGER);\n', to: '  return Math.min(own.end.lsn, peer.end.lsn);\n' }],
    caughtAt: 21,
  },
  {
    name: 'empty-node-founds-a-cluster',
    bug: 'B17',
    story: 'a node whose disk is empty does not join the cluster of its peers, but founds a second one',
    edits: [{ file: 'node/node.ts', from: "      case 'ask-peers':\n", to: "      case 'ask-peers':\n        await this.#found();\n        if (this.nodeName !== '') return this.#openAsPrimary();\n" }],
    caughtAt: 21,
  },
  {
    name: 'frames-taken-twice',
    bug: 'B21',
    story: 'a frame is appended wherever the log ends, whatever its LSN and chain say',
    edits: [
      { file: 'wal/wal.ts', from: '  if (header.firstLsn !== before.lsn + 1) {\n    throw', to: '  if (header.firstLsn < 0) {\n    throw' },
      { file: 'wal/wal.ts', from: '  if (chain !== header.chain) {\n    // Not', to: '  if (chain < 0) {\n    // Not' },
      { file: 'replication/log-receiver.ts', from: '{ after: String(sink.end.lsn) }', to: '{ after: String(Math.max(0, sink.end.lsn - 1)) }' },
      { file: 'replication/log-receiver.ts', from: "      parameters.set('chain', sink.end.chain.toString(16).padStart(8, '0'));\n", to: '' },
    ],
    caughtAt: 1,
  },
  {
    name: 'late-confirmation-counts',
    bug: 'B26',
    story: 'a write that nobody confirmed in time is answered as if they had',
    edits: [{ file: 'commit/acknowledgements.ts', from: '          reject(late());\n', to: '          resolve(1);\n          void [reject, late];\n' }],
    caughtAt: 40,
  },
];

/** One row in forty is not there, though everything else of its transaction is. */
function withLostRows(store: MemoryStore): Store {
  const mangled = (batch: Batch): Batch => ({
    ...batch,
    operations: batch.operations.map((operation, index) => (operation.kind === 'put' && (batch.firstLsn + index) % 40 === 0 ? { kind: 'delete', key: operation.key } : operation)),
  });
  return changed(store, { apply: (batches) => store.apply(batches.map(mangled)) });
}

/** Says that everything applied is durable, and does nothing for it. */
function withoutCheckpoints(store: MemoryStore): Store {
  return changed(store, { checkpoint: () => Promise.resolve({ lsn: store.applied.lsn, chain: store.applied.chain }) });
}

function changed(store: MemoryStore, changes: Partial<Store>): Store {
  return new Proxy(store, {
    get: (target, name) => {
      if (Object.hasOwn(changes, name)) return Reflect.get(changes, name) as unknown;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
    },
  });
}
