/**
 * Check 6: when all has healed, every node holds the same, and nothing but what the log says. The log has no
 * gaps; each node's log is a stretch of it that reaches its end; each table is what comes out when the log
 * is applied from the beginning; each node's own digest is the digest of that table.
 */
import { createHash } from 'node:crypto';

import type { CheckReport, HistoryRecord, LoggedOperation, NodeEnd, Violation } from '../history-record.ts';
import { violation } from './describe-record.ts';
import type { Lineages } from './lineages.ts';

type Table = NodeEnd['table'];

export function checkEndState(_records: readonly HistoryRecord[], lineages: Lineages): CheckReport {
  const { log, nodes } = lineages.truth;
  const { table, violations } = foldLog(lineages);
  const expected = { lsn: log.length, rowCount: table.size, sha256: digestOf(table) };
  for (const node of nodes) {
    violations.push(...judgeNodeLog(node, log), ...judgeTable(node, table), ...judgeDigest(node, expected));
  }
  const chains = new Map(nodes.map((node) => [node.digest.chain, node.nodeId]));
  if (chains.size > 1) violations.push(violation('digests-differ', `the chains at the end of the logs differ: ${[...chains].map(([chain, nodeId]) => `${chain.toString(16)} on ${nodeId}`).join(', ')}`));
  return { checkedCount: nodes.length, violations };
}

function foldLog(lineages: Lineages): { readonly table: Table; readonly violations: Violation[] } {
  const table = new Map<string, { readonly value: string; readonly lsn: number }>();
  const violations: Violation[] = [];
  let epochId: string | undefined;
  for (const [index, { lsn, epochId: ownEpochId, operation }] of lineages.truth.log.entries()) {
    if (lsn !== index + 1) return { table, violations: [...violations, violation('log-broken', `the log has LSN ${lsn} where ${index + 1} was expected`)] };
    const begins = operation.kind === 'epoch-begin' && operation.epoch.id === ownEpochId;
    if (begins === (ownEpochId === epochId)) violations.push(violation('log-broken', begins ? `LSN ${lsn} begins an epoch that had begun` : `LSN ${lsn} is of another epoch than the one before, but begins none`));
    epochId = ownEpochId;
    if (operation.kind === 'put') table.set(operation.key, { value: operation.value, lsn });
    if (operation.kind === 'delete' && !table.delete(operation.key)) violations.push(violation('log-broken', `LSN ${lsn} deletes ${operation.key}, which was not there`));
  }
  return { table, violations };
}

function judgeNodeLog(node: NodeEnd, log: readonly LoggedOperation[]): readonly Violation[] {
  const last = node.log.at(-1);
  // A node that was reseeded at the very end holds nothing but the snapshot: table and digest say the rest.
  if (last !== undefined && last.lsn !== log.length) return [violation('logs-differ', `the log of ${node.nodeId} ends at LSN ${last.lsn}, the history at ${log.length}`)];
  const firstLsn = node.log[0]?.lsn ?? 0;
  for (const [index, logged] of node.log.entries()) {
    if (logged.lsn !== firstLsn + index) return [violation('logs-differ', `the log of ${node.nodeId} has LSN ${logged.lsn} where ${firstLsn + index} was expected`)];
    if (!isSame(logged, log[logged.lsn - 1]!)) return [violation('logs-differ', `LSN ${logged.lsn} on ${node.nodeId} is ${JSON.stringify(logged)}, in the history ${JSON.stringify(log[logged.lsn - 1])}`)];
  }
  return [];
}

function judgeTable(node: NodeEnd, expected: Table): readonly Violation[] {
  const keys = new Set([...expected.keys(), ...node.table.keys()]);
  return [...keys].flatMap((key) => {
    const [row, right] = [node.table.get(key), expected.get(key)];
    if (row?.value === right?.value && row?.lsn === right?.lsn) return [];
    return [violation('table-differs', `${node.nodeId} shows ${JSON.stringify(row ?? null)} for ${key}, the log says ${JSON.stringify(right ?? null)}`)];
  });
}

function judgeDigest({ nodeId, digest }: NodeEnd, expected: { readonly lsn: number; readonly rowCount: number; readonly sha256: string }): readonly Violation[] {
  if (digest.lsn === expected.lsn && digest.rowCount === expected.rowCount && digest.sha256 === expected.sha256) return [];
  return [violation('digests-differ', `${nodeId} has the digest ${digest.sha256} of ${digest.rowCount} rows at LSN ${digest.lsn}, expected ${expected.sha256} of ${expected.rowCount} rows at LSN ${expected.lsn}`)];
}

function isSame(one: LoggedOperation, other: LoggedOperation): boolean {
  const fields = ({ lsn, epochId, operation }: LoggedOperation): string => JSON.stringify([lsn, epochId, Object.entries(operation).sort(([a], [b]) => (a < b ? -1 : 1))]);
  return fields(one) === fields(other);
}

/**
 * SHA-256 over the rows by their keys' bytes: lengths as u32, key, value, LSN as u64, big endian. Written a
 * second time here: a checker that asked the node's own code could not find a mistake in it.
 */
export function digestOf(table: Table): string {
  const hash = createHash('sha256');
  const rows = [...table].map(([key, row]) => ({ key: Buffer.from(key), value: Buffer.from(row.value), lsn: row.lsn }));
  for (const { key, value, lsn } of rows.sort((a, b) => Buffer.compare(a.key, b.key))) {
    hash.update(uint32(key.length)).update(key).update(uint32(value.length)).update(value).update(uint64(lsn));
  }
  return hash.digest('hex');
}

function uint32(number: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes;
}

function uint64(number: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(number));
  return bytes;
}
