/** What /metrics counts about the log, and how much of it fell between two readings. */
export interface LogCounters {
  readonly operations: number;
  readonly batches: number;
  readonly syncs: number;
  readonly syncSeconds: number;
  readonly bytes: number;
}

/** @throws Error naming the metric that is not there. */
export async function readLogCounters(url: string): Promise<LogCounters> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const valueOf = (name: string): number => {
    const value = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1];
    if (value === undefined) throw new Error(`/metrics of ${url} has no ${name}`);
    return Number(value);
  };
  return {
    operations: valueOf('shiplog_batch_operations_sum'),
    batches: valueOf('shiplog_batch_operations_count'),
    syncs: valueOf('shiplog_log_sync_seconds_count'),
    syncSeconds: valueOf('shiplog_log_sync_seconds_sum'),
    bytes: valueOf('shiplog_write_group_bytes_sum'),
  };
}

export function countersBetween(before: LogCounters, after: LogCounters): LogCounters {
  return {
    operations: after.operations - before.operations,
    batches: after.batches - before.batches,
    syncs: after.syncs - before.syncs,
    syncSeconds: after.syncSeconds - before.syncSeconds,
    bytes: after.bytes - before.bytes,
  };
}
