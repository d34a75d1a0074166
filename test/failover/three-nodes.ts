/** A primary and two replicas, and what an operator does with them. */
import type { PromoteEvent, PromoteOptions } from '../../lib/failover/promote-events.ts';
import { type NodeOptions } from '../../lib/node/node-options.ts';
import { type Machine, MemoryCluster } from '../support/memory-cluster.ts';
import type { DiskCall, DiskFault, MemoryDiskOptions } from '../support/memory-disk.ts';

const PLAIN: PromoteOptions = { force: false, acceptLoss: null, isDryRun: false };

/** @returns the last event: `promoted` or `refused`. */
export async function promote(cluster: MemoryCluster, machine: Machine, options: Partial<PromoteOptions> = {}): Promise<PromoteEvent> {
  return (await cluster.clock.until(promotionEvents(machine, options))).at(-1)!;
}

/** Everything that a promotion says, without letting time pass. */
export async function promotionEvents(machine: Machine, options: Partial<PromoteOptions> = {}): Promise<PromoteEvent[]> {
  const events: PromoteEvent[] = [];
  for await (const event of machine.node.promote({ ...PLAIN, ...options })) events.push(event);
  return events;
}

export async function threeNodes(options: Partial<NodeOptions> = {}, disk: Partial<MemoryDiskOptions> = {}): Promise<{ cluster: MemoryCluster; a: Machine; b: Machine; c: Machine }> {
  const cluster = new MemoryCluster();
  const a = cluster.machine('a', options, disk);
  await a.start();
  const b = cluster.machine('b', { ...options, follow: a.url }, disk);
  await b.start();
  const c = cluster.machine('c', { ...options, follow: a.url }, disk);
  await c.start();
  await untilMembers(cluster, 3, a, b, c);
  return { cluster, a, b, c };
}

/** Until all are healthy and know of `count` members. */
export async function untilMembers(cluster: MemoryCluster, count: number, ...machines: Machine[]): Promise<void> {
  await cluster.clock.untilTrue(() => machines.every((machine) => machine.node.health().ok && machine.node.status().members.length === count));
}

export const end = (machine: Machine): string => machine.node.status().positions.durable;

export const stateOf = (machine: Machine): string => machine.node.status().state;

export async function untilEqual(cluster: MemoryCluster, ...machines: Machine[]): Promise<void> {
  await cluster.clock.untilTrue(() => machines.every((machine) => machine.isRunning && machine.node.health().ok && end(machine) === end(machines[0]!)));
}

/** Disks on which writes to files of one name fail while somebody wants it. */
export class FaultyFile {
  /** Part of the path; undefined = all goes well. */
  failing: string | undefined;
  code = 'ENOSPC';
  readonly disk: Partial<MemoryDiskOptions> = { intercept: (call) => this.#faultOf(call) };

  #faultOf(call: DiskCall): DiskFault | undefined {
    const isHit = call.name === 'writeAt' && this.failing !== undefined && call.path.includes(this.failing);
    return isHit ? { kind: 'error', code: this.code } : undefined;
  }
}
