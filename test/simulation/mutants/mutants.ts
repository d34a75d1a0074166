/**
 * Each safeguard, taken away once: see mutant.ts. Nothing of lib/ is imported but types, since modules are
 * changed as they are loaded.
 */
import type { Batch } from '../../../lib/base/operation.ts';
import type { Store } from '../../../lib/store/store.ts';
import type { MemoryStore } from '../../support/memory-store.ts';
import type { Mutant } from './mutant.ts';
import { FLIPPED_BITS, POWER_CUTS, SPLITS, TIGHT_LOG } from './plans.ts';

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'answer-before-sync',
    bug: 'B1',
    story: 'the log reports a group as durable without having synced it',
    edits: [{ file: 'wal/wal.ts', from: '    await this.#sync(file);\n  }\n\n  async #sync(', to: '  }\n\n  async #sync(' }],
    caughtAt: 3,
  },
  {
    name: 'confirmed-before-sync',
    bug: 'B1',
    story: 'a replica confirms what it has received, though it is not durable there',
    edits: [
      { file: 'replication/log-receiver.ts', from: '      const durableLsn = sink.end.lsn;', to: '      const durableLsn = Math.max(sink.end.lsn, this.received ?? 0);' },
      { file: 'replication/log-receiver.ts', from: '    this.#pendingBytes += bytes.length;', to: '    this.#pendingBytes += bytes.length; this.received = header.firstLsn + header.operationCount - 1; this.#confirmable?.();' },
    ],
    plan: { ...POWER_CUTS, nodeCount: 2, acks: [[1, 1]], faults: [['power-cut', 3], ['long-outage', 1]], actions: [['promote-when-dead', 3], ['promote', 1]], actionMs: 300 },
    caughtAt: 12,
  },
  {
    name: 'cached-tail-trusted',
    bug: 'B3',
    story: 'recovery serves what it read without writing it again and syncing it',
    edits: [{ file: 'wal/wal-recovery.ts', from: '      if (isLast) await rewriteLastGroup(file, lastGroupOffset, segment.sizeBytes);\n', to: '      void (isLast ? lastGroupOffset : rewriteLastGroup);\n' }],
    plan: { ...POWER_CUTS, faults: [['power-cut', 3], ['crash-at-disk-call', 3], ['sync-error', 3], ['kill', 1]], faultMs: 250 },
    caughtAt: 1,
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
    name: 'payloads-not-checked',
    bug: 'B5',
    story: 'recovery takes a frame for whole whose header has survived, whatever became of its payload',
    edits: [{ file: 'wal/segment-reader.ts', from: 'const chain = crc32(payload, chainOverHeader(this.#window, start, this.#before.chain));', to: 'const { chain } = header;' }],
    plan: { ...POWER_CUTS, clientCount: 4, thinkMs: 30, valueBytes: 6_000 },
    caughtAt: 4,
  },
  {
    name: 'directory-not-synced',
    bug: 'B6',
    story: 'the disk forgets names: syncs of directories are not carried out',
    environment: { diskFault: (call) => (call.name === 'syncDirectory' ? { kind: 'lie' } : undefined) },
    caughtAt: 5,
  },
  {
    name: 'small-files-not-synced-by-name',
    bug: 'B6',
    story: 'the directory is not synced after the rename of a small file, so that promises and roles are forgotten',
    edits: [{ file: 'env/durable-file.ts', from: '  await disk.syncDirectory(directory);', to: '' }],
    plan: { ...SPLITS, faults: [['power-cut', 3], ['crash-at-disk-call', 3], ['partition', 1]], actions: [['promote', 3], ['promote-when-dead', 3]] },
    caughtAt: 26,
  },
  {
    name: 'segment-names-not-synced',
    bug: 'B6',
    story: 'the directory of the log is not synced after a new segment got its name',
    edits: [{ file: 'wal/wal.ts', from: '      await disk.rename(sparePath, path);\n      await disk.syncDirectory(this.directory);', to: '      await disk.rename(sparePath, path);\n' }],
    caughtAt: 4,
  },
  {
    name: 'marks-ignored',
    bug: 'B7',
    story: 'damage in what was durable is taken for a torn tail, and cut off',
    edits: [{ file: 'wal/wal-recovery.ts', from: 'if (mark.durable.lsn > lsn) refuse(', to: 'if (mark.durable.lsn < 0) refuse(' }],
    plan: { ...POWER_CUTS, faults: [['bit-rot', 3], ['power-cut', 1]], checkpointOperations: 1_000_000, checkpointIntervalMs: 1_000_000 },
    caughtAt: 1,
  },
  {
    name: 'torn-tails-refused',
    bug: 'B7',
    story: 'a write group that was torn by a crash is taken for damage',
    edits: [{ file: 'wal/wal-recovery.ts', from: "if (!bad.isLast) refuse('another segment follows');", to: "refuse('nothing is ever dropped');" }],
    plan: POWER_CUTS,
    caughtAt: 1,
  },
  {
    name: 'torn-tails-take-more-with-them',
    bug: 'B7',
    story: 'the group before a torn one is cut off with it',
    edits: [
      {
        file: 'wal/wal-recovery.ts',
        from: '        await refuseUnlessTorn(options, { segment, file, reader, isLast });\n',
        to: `        await refuseUnlessTorn(options, { segment, file, reader, isLast });
        if (lastGroupOffset > SEGMENT_HEADER_BYTES) {
          const shorter = new SegmentReader(file, segment, { point: segment.header.before, offset: SEGMENT_HEADER_BYTES }, lastGroupOffset);
          while ((await shorter.next()) !== undefined);
          await file.truncate(lastGroupOffset);
          return recoverLog(options);
        }
`,
      },
    ],
    plan: POWER_CUTS,
    caughtAt: 1,
  },
  {
    name: 'lengths-believed',
    bug: 'B8',
    story: 'the length of a frame is believed before its header is known to be whole, and without a bound',
    edits: [
      { file: 'wal/frame.ts', from: 'if (source.readUInt32LE(offset + CHECKED_BYTES) !== checksum) return undefined;', to: 'void checksum;' },
      { file: 'wal/frame.ts', from: '    header.payloadBytes <= LIMITS.framePayloadBytesMax &&', to: '' },
    ],
    plan: FLIPPED_BITS,
    caughtAt: 1,
  },
  {
    name: 'rows-do-not-come-with-their-position',
    bug: 'B9',
    story: 'a transaction of the store moves the applied position, and leaves a row out',
    environment: { wrapStore: (store) => withLostRows(store) },
    caughtAt: 1,
  },
  {
    name: 'rows-parted-from-their-position',
    bug: 'B9',
    story: 'the store commits the position of a transaction before its rows, and a crash comes between',
    environment: {
      wrapStore: (store) => {
        store.partsTransactions = true;
        return store;
      },
    },
    caughtAt: 21,
  },
  {
    name: 'log-deleted-before-the-table-is-durable',
    bug: 'B10',
    story: 'the log is cut at a checkpoint that has not made the table durable',
    environment: { wrapStore: (store) => withoutCheckpoints(store) },
    caughtAt: 5,
  },
  {
    name: 'log-removed-above-the-checkpoint',
    bug: 'B10',
    story: 'retention removes segments that the table has not made durable',
    edits: [{ file: 'wal/retention.ts', from: 'if (segment.lastLsn > state.checkpointedLsn) break;', to: '' }],
    plan: { ...TIGHT_LOG, thinkMs: 2_000, clientCount: 4, checkpointOperations: 1_000_000, checkpointIntervalMs: 1_000_000, faults: [['power-cut', 1]], faultMs: 40_000, faultsMin: 4, actions: [['promote-when-dead', 1]] },
    caughtAt: 1,
  },
  {
    name: 'lagging-replica-promoted',
    bug: 'B12',
    story: 'a failover does not look whether somebody is further',
    edits: [
      { file: 'failover/promotion-plan.ts', from: '  if (better !== undefined) {\n', to: '  if (better !== undefined && own.history.current === undefined) {\n' },
      { file: 'failover/promotion-plan.ts', from: '  if (announcedLsn > own.end.lsn) {\n', to: '  if (announcedLsn > own.end.lsn && own.history.current === undefined) {\n' },
    ],
    plan: { ...SPLITS, nodeCount: 4, faults: [['long-outage', 3], ['isolate', 3], ['freeze', 2]], actions: [['promote-when-dead', 1], ['promote', 1]] },
    caughtAt: 20,
  },
  {
    name: 'silent-members-do-not-count',
    bug: 'B12',
    story: 'a replica is promoted though another one, which may hold more, can not be asked',
    edits: [{ file: 'failover/promotion-plan.ts', from: 'if (silent.length > 0) {', to: 'if (silent.length < 0) {' }],
    plan: { ...SPLITS, nodeCount: 4, faults: [['long-outage', 3], ['isolate', 3], ['freeze', 2]], actions: [['promote-when-dead', 1], ['promote', 1]] },
    caughtAt: 7,
  },
  {
    name: 'later-promise-ends-an-earlier-one',
    bug: 'B13',
    story: 'giving up its own promotion, a node forgets to whom else it is promised',
    edits: [{ file: 'failover/promise-book.ts', from: '    await this.#withdraw(({ epoch }) => epoch.id === epochId);\n', to: '    await this.#withdraw(({ epoch }) => epoch.id !== `not ${epochId}`);\n' }],
    profile: 'swarm',
    // One seed in a thousand.
    plan: { ...SPLITS, nodeCount: 4, batchShare: 0, faults: [['isolate', 3], ['partition', 3], ['long-outage', 2], ['freeze', 2], ['cut', 2]], actions: [['promote-two', 4], ['promote-when-dead', 3], ['promote', 2]] },
    caughtAt: 1638,
  },
  {
    name: 'writes-after-the-end-of-the-epoch',
    bug: 'B13',
    story: 'a primary that has handed over goes on taking writes',
    edits: [
      { file: 'role/role-machine.ts', from: "    'epoch-ended': { to: 'handed-over', effects: [] },\n", to: "    'epoch-ended': PRIMARY,\n" },
      { file: 'wal/history-check.ts', from: "  if (ended !== undefined && first?.kind !== 'epoch-begin') {\n", to: '  if (ended !== undefined && firstLsn < 0) {\n' },
    ],
    caughtAt: 6,
  },
  {
    name: 'fencing-ignored',
    bug: 'B13',
    story: 'a primary that was told of a later epoch goes on acknowledging',
    edits: [{ file: 'failover/failover.ts', from: '    const verdict = judgePeer(own, peer);\n    const who', to: "    const verdict = judgePeer(own, { ...peer, clusterId: null });\n    const who" }],
    mayNeverRest: true,
    caughtAt: 3,
  },
  {
    name: 'promised-replicas-go-on-following',
    bug: 'B13',
    story: 'a replica that has promised itself goes on following and confirming',
    edits: [{ file: 'failover/failover.ts', from: '      await this.#host.pauseFollowing();\n      return peerAnswer(', to: '      \n      return peerAnswer(' }],
    plan: { ...SPLITS, faults: [['partition', 4], ['one-way', 2], ['cut', 4], ['kill', 2]], actions: [['promote', 1]] },
    caughtAt: 13,
  },
  {
    name: 'histories-not-compared',
    bug: 'B14',
    story: 'neither a follower nor its upstream compares histories: whose LSN is not above is let in',
    edits: [
      { file: 'failover/failover.ts', from: '    const forkLsn = sharedWith(own, primary);', to: '    const forkLsn = own.end.lsn;' },
      { file: 'replication/handshake.ts', from: '  if (claim.epochId !== undefined) {\n', to: '  if (claim.epochId === "never") {\n' },
      { file: 'replication/log-sender.ts', from: '    if (chain === undefined || chain === point.chain) return;\n', to: '    if (chain === undefined || afterLsn >= 0) return;\n    void point;\n' },
      { file: 'wal/wal.ts', from: '  if (chain !== header.chain) {\n    // Not', to: '  if (chain < 0) {\n    // Not' },
      { file: 'wal/history-check.ts', from: '    if (current?.number === frame.epochNumber) return history;\n', to: '    if (firstLsn > 0) return history;\n' },
      { file: 'wal/history-check.ts', from: '  if (!continues || !isAtEnd) {\n', to: '  if (!continues && !isAtEnd && firstLsn < 0) {\n' },
    ],
    caughtAt: 7,
  },
  {
    name: 'nothing-set-aside',
    bug: 'B14',
    story: 'a former primary that rejoins writes a salvage file without its operations',
    edits: [{ file: 'failover/salvage-writer.ts', from: 'for await (const batch of wal.readBatches(afterLsn)) {', to: 'for await (const batch of wal.readBatches(wal.end.lsn)) {' }],
    caughtAt: 20,
  },
  {
    name: 'epoch-ids-from-numbers',
    bug: 'B15',
    story: 'two nodes mint the same epoch, id and all',
    edits: [{ file: 'failover/promotion.ts', from: 'epoch: { number, id: randomId(this.#host.environment.random) }', to: "epoch: { number, id: number.toString(16).padStart(4, '0').padEnd(32, 'e') }" }],
    plan: { ...SPLITS, nodeCount: 4, faults: [['isolate', 1]], actions: [['force', 3], ['promote', 1]] },
    caughtAt: 4,
  },
  {
    name: 'fork-from-watermarks',
    bug: 'B16',
    story: 'a former primary sets aside what is above the end of the other log, not what lies after the fork of the histories',
    edits: [
      { file: 'failover/failover.ts', from: 'await this.#host.setAside(forkLsn, primary.url, opened);', to: 'await this.#host.setAside(Math.min(own.end.lsn, primary.end.lsn), primary.url, opened);' },
      { file: 'node/bootstrap.ts', from: '    const endLsn = own.salvagedAfterLsn ?? own.end.lsn;', to: '    const endLsn = own.salvagedAfterLsn === null ? own.end.lsn : 0;' },
    ],
    caughtAt: 20,
  },
  {
    name: 'empty-node-founds-a-cluster',
    bug: 'B17',
    story: 'a node whose disk is empty does not join the cluster of its peers, but founds a second one',
    edits: [{ file: 'node/node.ts', from: "      case 'ask-peers':\n", to: "      case 'ask-peers':\n        await this.#found();\n        if (this.nodeName !== '') return this.#openAsPrimary();\n" }],
    caughtAt: 26,
  },
  {
    name: 'gaps-passed-over',
    bug: 'B20',
    story: 'a reader that retention has overtaken goes on behind the gap, and who follows it does not look',
    edits: [
      { file: 'wal/wal-cursor.ts', from: '    if (next.header.before.lsn !== this.#point.lsn) {', to: '    this.#point = next.header.before; if (next === null) {' },
      { file: 'wal/wal.ts', from: '  if (header.firstLsn !== before.lsn + 1) {', to: '  if (header.firstLsn < 0) {' },
      { file: 'wal/wal.ts', from: '  if (chain !== header.chain) {', to: '  if (chain < 0) {' },
    ],
    plan: { ...TIGHT_LOG, clientCount: 8, thinkMs: 5, valueBytes: 300, networkMs: 5, checkpointOperations: 5, checkpointIntervalMs: 200, faults: [['slow-network', 3], ['freeze', 2], ['bad-network', 1]], actions: [['promote-when-dead', 1]] },
    caughtAt: 3,
  },
  {
    name: 'frames-taken-twice',
    bug: 'B21',
    story: 'a replica connects again from before its last group, and appends whatever comes as if it were new',
    edits: [
      { file: 'replication/log-receiver.ts', from: '        await sink.commit(group);\n', to: '        await sink.commit(group);\n        this.#options.rewound = group[0].header.firstLsn - 1;\n' },
      { file: 'replication/log-receiver.ts', from: '{ after: String(sink.end.lsn) }', to: '{ after: String(this.#options.rewound ?? sink.end.lsn) }' },
      { file: 'replication/log-receiver.ts', from: "      parameters.set('chain', sink.end.chain.toString(16).padStart(8, '0'));\n", to: '' },
      { file: 'wal/wal.ts', from: "      if (source.type === 'operations') {\n        ({ wallMs } = source);\n        epochNumber = source.epoch.number;\n", to: "      if (source.operations.length > 0) {\n        ({ wallMs, epochNumber } = source.header ?? { wallMs: source.wallMs, epochNumber: source.epoch.number });\n" },
    ],
    plan: { nodeCount: 2, faults: [['cut', 1]], faultMs: 2_000, actions: [['promote', 1]], actionMs: 1_500 },
    caughtAt: 4,
  },
  {
    name: 'received-frames-not-checked',
    bug: 'B21',
    story: 'a replica appends whatever arrives, without comparing LSN and chain with its own end',
    edits: [
      { file: 'wal/wal.ts', from: '  if (header.firstLsn !== before.lsn + 1) {', to: '  if (header.firstLsn < 0) {' },
      { file: 'wal/wal.ts', from: '  if (chain !== header.chain) {', to: '  if (chain < 0) {' },
    ],
    plan: FLIPPED_BITS,
    caughtAt: 3,
  },
  {
    name: 'late-confirmation-counts',
    bug: 'B26',
    story: 'a write that nobody confirmed in time is answered as if they had',
    edits: [{ file: 'commit/acknowledgements.ts', from: '          reject(late());\n', to: '          resolve(1);\n          void [reject, late];\n' }],
    plan: { ...SPLITS, faults: [['isolate', 3], ['long-outage', 2], ['kill', 1]], actions: [['promote', 2], ['promote-when-dead', 1]] },
    caughtAt: 4,
  },
  {
    name: 'min-ignored',
    bug: 'B26',
    story: 'a read with min does not wait for the position that it names',
    edits: [{ file: 'node/node.ts', from: '      await this.#shown(position, deadline.signal);', to: '      await Promise.resolve();' }],
    caughtAt: 2,
  },
  {
    name: 'reads-show-what-is-not-durable',
    bug: 'B26',
    story: 'a write can be read before its sync has ended, and is gone after a power cut',
    edits: [
      { file: 'wal/wal.ts', from: '    await this.#writeDurably(group.bytes);', to: '    this.durably = this.#writeDurably(group.bytes); this.durably.catch(() => {});' },
      { file: 'commit/committer.ts', from: '      table.show(batches);', to: '      table.show(batches); await wal.durably;' },
    ],
    caughtAt: 1,
  },
  {
    name: 'refusals-do-not-wait',
    bug: 'B26',
    story: 'a 404 that rests on a delete of the same group is answered before that delete is durable',
    edits: [{ file: 'commit/group-commit.ts', from: 'if (earlier.has(operation.key) && write.awaitsSync) dependents.push(write);', to: 'if (dependents.length < 0) dependents.push(write);' }],
    plan: { ...POWER_CUTS, nodeCount: 2, keyCount: 2, deleteShare: 0.25, acks: [['local', 1]], operations: 900, diskMs: 20, thinkMs: 50, faultMs: 250 },
    caughtAt: 1,
  },
  {
    name: 'batches-in-several-frames',
    bug: 'B29',
    story: 'each operation of a batch is a frame of its own, so that a crash or a failover can come between them',
    edits: [{ file: 'commit/group-commit.ts', from: '        group.frames.push(framed);\n', to: `        const { operations } = framed;
        group.frames.push(...operations.map((operation, index) => ({ operations: [operation], resolve: (lsn) => void (index === operations.length - 1 && framed.resolve(lsn - index)), reject: (error) => framed.reject(error) })));
` }],
    caughtAt: 1,
  },
  {
    name: 'batches-in-several-groups',
    bug: 'B29',
    story: 'the rest of a batch is written when its first operation is durable: a crash or a failover comes between them',
    edits: [
      {
        file: 'commit/group-commit.ts',
        from: '      checkBatchSize(operations.length, bytes);\n',
        to: `      checkBatchSize(operations.length, bytes);
      if (operations.length > 1 && operations.every(isUnconditional)) {
        const parts = [operations.slice(0, 1), operations.slice(1)].map((part) => ({ part }));
        const written = async () => {
          const first = await this.submitBatch(parts[0].part, { awaitsSync });
          const rest = await this.submitBatch(parts[1].part, { awaitsSync });
          return first.outcome === 'written' ? { ...rest, lsns: [...first.lsns, ...rest.lsns] } : { ...rest, isWritten: [...first.isWritten, ...rest.isWritten] };
        };
        written().then(resolve, () => reject(new ShiplogError('outcome-unknown', 'a part of it may be written')));
        return;
      }
`,
      },
    ],
    plan: { ...POWER_CUTS, valueBytes: 40, batchShare: 1 },
    caughtAt: 1,
  },
  {
    name: 'batches-share-frames',
    bug: 'B29',
    story: 'a batch gets into the frame of the writes before it, and is not a step of its own',
    edits: [{ file: 'commit/group-commit.ts', from: '        closeFrame();\n        group.frames.push(framed);\n', to: `        const shared = new SharedFrame(writes);
        writes = [];
        const both = [shared, framed];
        group.frames.push({ operations: both.flatMap(({ operations }) => operations), resolve: (lsn) => both.forEach((each, index) => each.resolve(lsn + index * shared.operations.length)), reject: (error) => both.forEach((each) => each.reject(error)) });
` }],
    caughtAt: 1,
  },
  {
    name: 'only-the-first-condition-counts',
    bug: 'B29',
    story: 'a batch is written if the condition of its first operation holds, whatever becomes of the others',
    edits: [{ file: 'commit/group-commit.ts', from: '      if (condition === undefined) continue;\n', to: '      if (condition === undefined || index > 0) continue;\n' }],
    caughtAt: 1,
  },
  {
    name: 'conditions-judged-one-by-one',
    bug: 'B29',
    story: 'a condition is judged by what the operations of the batch before it have done, not by the state before the batch',
    edits: [
      {
        file: 'commit/group-commit.ts',
        from: '      const currentLsn = table.get(operation.key)?.lsn ?? null;\n      if (condition(currentLsn)) continue;',
        to: '      const earlier = operations.slice(0, index).findLast((each) => each.operation.key === operation.key)?.operation;\n      const currentLsn = earlier === undefined ? (table.get(operation.key)?.lsn ?? null) : earlier.kind === "put" ? restsOnLsn : null;\n      if (condition(currentLsn)) continue;',
      },
    ],
    caughtAt: 3,
  },
  {
    name: 'written-up-to-the-condition-that-fails',
    bug: 'B29',
    story: 'of a batch that is refused, the operations before the condition that does not hold are written',
    edits: [
      {
        file: 'commit/group-commit.ts',
        from: "      batch.resolve({ outcome: 'precondition-failed', index, currentLsn, restsOnLsn });\n      return 'answered';",
        to: "      batch.resolve({ outcome: 'precondition-failed', index, currentLsn, restsOnLsn });\n      const puts = operations.slice(0, index).filter((each) => each.operation.kind === 'put');\n      for (const each of puts) group.earlier.note(each.operation);\n      return puts.length === 0 ? 'answered' : new BatchFrame({ ...batch, operations: puts, resolve: () => {}, bytes: puts.reduce((sum, each) => sum + encodedSize(each.operation), 0) }, puts.map(() => true));",
      },
    ],
    caughtAt: 1,
  },
  {
    name: 'batches-shown-in-part',
    bug: 'B29',
    story: 'reads show a batch one operation after the other',
    edits: [
      { file: 'commit/committer.ts', from: '      table.show(batches);', to: '      await table.show(batches);' },
      { file: 'commit/visible-table.ts', from: '  show(batches: readonly LoggedBatch[]): void {', to: '  async show(batches: readonly LoggedBatch[]): Promise<void> {' },
      { file: 'commit/visible-table.ts', from: '        lsn += 1;\n      }\n      this.#batches.push(batch);', to: '        this.visible.advance(lsn);\n        if (lsn < batch.lastLsn) await sleep(this.#options.clock, 1);\n        lsn += 1;\n      }\n      this.#batches.push(batch);' },
    ],
    caughtAt: 2,
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
