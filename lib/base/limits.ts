/** Every bound of the product in one place. `config` may narrow those that are settable. */
import { assert } from './errors.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

export const LIMITS = {
  keyBytesMax: 1 * KIB,
  valueBytesMax: 16 * MIB,
  /** A batch closes here, unless its only operation is larger. */
  batchBytesMax: 4 * MIB,
  /** A batch also closes here, so that one frame is one short store transaction. */
  batchOperationsMax: 4096,
  /** Body of a request for many keys: twice the batch, since escapes count as they are sent. */
  batchBodyBytesMax: 8 * MIB,
  /** Keys that one request may read, and the bytes of their values, unless it is one value. */
  readKeysMax: 1024,
  readBytesMax: 16 * MIB,
  /** An import is committed in batches that close here; one is on its way while the next one is gathered. */
  importBatchOperations: 4096,
  importBatchBytes: 1 * MIB,
  /** The largest key and value with every byte escaped, as \\u0000 is. */
  importLineBytesMax: 6 * (16 * MIB + 1 * KIB) + 64,
  /** Imports of which a node remembers how far they came. */
  importAccountsMax: 256,
  /** Exports under way at once: each has a copy of the table on the disk. */
  exportsMax: 4,
  /** Largest frame that any node accepts from a file or a peer. */
  framePayloadBytesMax: 17 * MIB,
  frameOperationsMax: 1 << 20,
  controlPayloadBytesMax: 1 * MIB,
  queueBytesMax: 64 * MIB,
  queueOperationsMax: 100_000,
  requestBodiesBytesMax: 256 * MIB,
  requestHeadBytesMax: 16 * KIB,
  connectionsMax: 10_000,
  waitingRequestsMax: 10_000,
  /** Visible operations that SQLite doesn't have yet; above it, appends wait for the applier. */
  unappliedBytesMax: 64 * MIB,
  /** How long visible operations may gather before SQLite gets them. */
  applyDelayMs: 50,
  /** Log beyond the last checkpoint; above it, appends wait for the checkpointer. */
  uncheckpointedBytesMax: 256 * MIB,
  segmentBytes: 64 * MIB,
  segmentBytesMin: 64 * KIB,
  /** Frames kept in memory for followers at the tail, all followers together. */
  tailBytesMax: 8 * MIB,
  /** One read or write of a stream; a follower holds at most one. */
  streamChunkBytes: 64 * KIB,
  senderBytesMax: 1 * MIB,
  retentionBytesMin: 256 * MIB,
  retentionMsMin: 10 * 60_000,
  retentionBytesMax: 4 * GIB,
  retentionMsMax: 24 * 3_600_000,
  heartbeatIntervalMs: 1_000,
  peerSilentMs: 10_000,
  /** Without a new heartbeat for so long, a replica may promise itself to a promotion. */
  primarySilentMs: 3_000,
  forwardTimeoutMs: 5_000,
  /** For replicas to confirm a write, and for a position to show, where a request says nothing else. */
  ackTimeoutMs: 5_000,
  positionWaitMs: 5_000,
  /** At most, whatever a request says. */
  requestWaitMsMax: 60_000,
  headersTimeoutMs: 5_000,
  /** Longer than load balancers keep theirs, so that they never reuse a connection we just closed. */
  keepAliveTimeoutMs: 75_000,
  /** A request body must make progress at least this often. */
  bodyIdleMs: 10_000,
  cleanStopMs: 10_000,
  /** Rows that were read lately. */
  cacheBytes: 64 * MIB,
  membersMax: 1_000,
  /** Addresses of nodes that were members once. */
  formerUrlsMax: 16,
} as const;

assert(LIMITS.framePayloadBytesMax >= LIMITS.valueBytesMax + LIMITS.keyBytesMax + 64, 'the largest operation fits a frame');
assert(LIMITS.batchBytesMax <= LIMITS.framePayloadBytesMax, 'a batch fits a frame');
assert(LIMITS.batchOperationsMax <= LIMITS.frameOperationsMax, 'a batch fits a frame');
assert(LIMITS.importBatchOperations <= LIMITS.batchOperationsMax && LIMITS.importBatchBytes <= LIMITS.batchBytesMax, 'a part of an import is a batch');
assert(LIMITS.importLineBytesMax >= 6 * (LIMITS.valueBytesMax + LIMITS.keyBytesMax), 'an import takes the largest value');
assert(LIMITS.queueBytesMax >= LIMITS.valueBytesMax, 'the queue takes the largest value');
assert(LIMITS.requestBodiesBytesMax >= LIMITS.valueBytesMax, 'the body budget takes the largest value');
assert(LIMITS.streamChunkBytes * 2 <= LIMITS.senderBytesMax, 'a sender holds no more than its share');
assert(LIMITS.heartbeatIntervalMs * 3 <= LIMITS.peerSilentMs, 'two lost heartbeats are no silence');
assert(LIMITS.retentionBytesMin <= LIMITS.retentionBytesMax && LIMITS.retentionMsMin <= LIMITS.retentionMsMax, 'retention window');
assert(LIMITS.uncheckpointedBytesMax <= LIMITS.retentionBytesMin, 'what recovery replays is always kept');
