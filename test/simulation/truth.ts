/**
 * What really happened, read from all disks with the second decoder: the history that survived, from
 * its first operation, the epochs that were ever opened, what was set aside, and what every node holds.
 *
 * Every frame that was ever found on a disk is known by its end (LSN and chain); the surviving history
 * is walked back from the end of the primary's log, frame by frame, each naming the one before it.
 */
import type { DataOperation, Operation } from '../../lib/base/operation.ts';
import { type Position, epochTagOf, parsePosition } from '../../lib/base/position.ts';
import type { TransportResponse } from '../../lib/env/transport.ts';
import type { Node } from '../../lib/node/node.ts';
import { type DecodedFrame, type DecodedOperation, decodeFiles } from '../support/second-decoder.ts';
import type { HistoryTruth, LoggedOperation, NodeEnd, OpenedEpoch, SalvageFile } from './history-record.ts';
import { DATA_DIRECTORY, type SimulatedMachine } from './simulated-machine.ts';
import type { World } from './world.ts';

interface KnownFrame {
  readonly frame: DecodedFrame;
  /** Chain before it. */
  readonly chainBefore: number;
}

export class TruthFinder {
  readonly #world: World;
  readonly #frames = new Map<string, KnownFrame>();
  /** Salvage files of all disks, also of those that were lost. */
  readonly #salvage = new Map<string, SalvageFile>();

  constructor(world: World) {
    this.#world = world;
  }

  /** @throws Error where the disks don't tell a whole history: a mistake of the simulator, or worse. */
  async find(primary: SimulatedMachine): Promise<HistoryTruth> {
    for (const machine of this.#world.machines) {
      for (const files of machine.archive.logs) this.#learn(files, machine);
      for (const directory of machine.walDirectories()) this.#learn(machine.disk.contents(directory), machine);
      this.#readSalvage(machine);
    }
    const end = await digestOf(primary.node!);
    const frames = this.#walkBack(end.lsn, end.chain);
    const surviving = new Set(frames.map(({ chain, lastLsn }) => keyOf(lastLsn, chain)));
    const forks = [...this.#frames].filter(([key, { frame, chainBefore }]) => !surviving.has(key) && (frame.firstLsn === 1 || surviving.has(keyOf(frame.firstLsn - 1, chainBefore))));
    this.#world.counters.forks += forks.length;
    const log = loggedOf(frames);
    this.#addLostWithDisks(surviving);
    const nodes: NodeEnd[] = [];
    for (const machine of this.#world.machines) nodes.push(await this.#nodeEnd(machine, log));
    return { log, epochs: this.#epochs(), salvage: [...this.#salvage.values()], nodes, ruins: [...this.#world.ruins].map(([nodeId, at]) => ({ nodeId, at })) };
  }

  /** Segment by segment: what is damaged in one says nothing about the next. */
  #learn(files: ReadonlyMap<string, Uint8Array>, { archive }: SimulatedMachine): void {
    for (const [name, content] of files) {
      for (const version of [content, ...archive.restored(name, content)]) this.#learnSegment(name, version);
    }
  }

  #learnSegment(name: string, content: Uint8Array): void {
    const decoded = decodeFiles(new Map([[name, content]]));
    let chainBefore = decoded.segments[0]?.chain ?? 0;
    for (const frame of decoded.frames) {
      const key = keyOf(frame.lastLsn, frame.chain);
      if (!this.#frames.has(key)) this.#frames.set(key, { frame, chainBefore });
      chainBefore = frame.chain;
    }
  }

  #walkBack(endLsn: number, endChain: number): readonly DecodedFrame[] {
    const frames: DecodedFrame[] = [];
    let [lsn, chain] = [endLsn, endChain];
    while (lsn > 0) {
      const known = this.#frames.get(keyOf(lsn, chain));
      if (known === undefined) throw new Error(`no disk holds the frame of the surviving history that ends at LSN ${lsn} with chain ${chain}`);
      frames.push(known.frame);
      lsn = known.frame.firstLsn - 1;
      chain = known.chainBefore;
    }
    return frames.reverse();
  }

  /**
   * Operations that went with a disk are in no salvage file, and nobody can ask for one. But the simulator
   * knows them, and what was read of them can be judged: they are told as if they had been set aside.
   */
  #addLostWithDisks(surviving: ReadonlySet<string>): void {
    for (const machine of this.#world.machines) {
      for (const disk of machine.archive.disks) {
        for (const directory of disk.directories('/').filter((path) => path.endsWith('/wal'))) this.#addFork(lastFrameOf(disk.contents(directory)), surviving);
      }
    }
  }

  #addFork(tip: DecodedFrame | undefined, surviving: ReadonlySet<string>): void {
    if (tip === undefined || surviving.has(keyOf(tip.lastLsn, tip.chain))) return;
    const frames = this.#walkBack(tip.lastLsn, tip.chain);
    const logged = loggedOf(frames);
    const forkLsn = frames.findLast(({ lastLsn, chain }) => surviving.has(keyOf(lastLsn, chain)))?.lastLsn ?? 0;
    const numbers = new Map(frames.map((frame) => [frame.firstLsn, frame.epoch]));
    let number = 0;
    const positions = logged.map(({ lsn, epochId }) => ({ epochNumber: (number = numbers.get(lsn) ?? number), epochTag: epochTagOf(epochId), lsn }));
    const operations = logged.slice(forkLsn).flatMap(({ operation, lsn }) => (operation.kind === 'put' || operation.kind === 'delete' ? [{ position: positions[lsn - 1]!, operation }] : []));
    const name = `lost with a disk: ${tip.lastLsn} ${tip.chain}`;
    this.#salvage.set(name, { nodeId: 'a disk that was lost', name, isComplete: true, forkLsn, throughPosition: positions.at(-1)!, operations });
  }

  #epochs(): readonly OpenedEpoch[] {
    const epochs = new Map<string, OpenedEpoch>();
    for (const { frame } of this.#frames.values()) {
      const [operation] = frame.operations;
      if (operation?.kind !== 'epoch-begin' || epochs.has(operation.epochId)) continue;
      const { epochId, epochNumber, parentNumber, parentId, begin, acceptedLoss } = operation;
      const promotion = this.#world.promotions.find((each) => each.epochId === epochId);
      const reign = this.#world.reigns.get(epochId);
      epochs.set(epochId, {
        epoch: { number: epochNumber, id: epochId },
        parent: parentNumber === 0 ? null : { number: parentNumber, id: parentId },
        begin,
        firstLsn: frame.firstLsn,
        // Where nobody ever saw it reign, nothing of it was ever answered.
        nodeId: reign?.nodeId ?? 'unknown',
        openedAt: reign?.atEvent ?? this.#world.trace.count + 1,
        acceptedLoss,
        announcedLsn: promotion?.announcedLsn ?? null,
        safeAck: promotion?.safeAck ?? null,
      });
    }
    return [...epochs.values()];
  }

  #readSalvage(machine: SimulatedMachine): void {
    const disks = [machine.disk, ...machine.archive.disks];
    for (const disk of disks) {
      for (const [name, content] of disk.contents(`${DATA_DIRECTORY}/salvage`)) {
        if (!name.endsWith('.ndjson')) continue;
        const lines = content.toString('utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
        const [header, ...rest] = lines;
        const footer = rest.pop();
        if (header === undefined || footer?.['footer'] !== true) throw new Error(`${machine.name} has a salvage file ${name} that does not end with a footer`);
        const operations = rest.filter((line) => line['kind'] === 'put' || line['kind'] === 'delete').map((line) => ({ position: positionIn(line['position']), operation: dataOperationOf(line) }));
        const nodeId = String(header['nodeId']);
        this.#salvage.set(`${nodeId}/${name}`, {
          nodeId,
          name,
          isComplete: header['isComplete'] === true,
          forkLsn: positionIn(header['forkPosition']).lsn,
          throughPosition: positionIn(header['throughPosition']),
          operations,
        });
      }
    }
  }

  async #nodeEnd(machine: SimulatedMachine, log: readonly LoggedOperation[]): Promise<NodeEnd> {
    const node = machine.node!;
    const digest = await digestOf(node);
    const directory = machine.walDirectories().findLast((path) => path.includes(currentGeneration(machine)))!;
    const frames = soundEnd(machine.disk.contents(directory), this.#world.ruins.has(node.nodeId));
    const table = new Map<string, { readonly value: string; readonly lsn: number }>();
    for (const key of new Set([...keysOf(log), ...Array.from({ length: this.#world.plan.keyCount }, (_, index) => `k${index}`)])) {
      const found = node.read(key);
      if (found !== undefined) table.set(key, { value: found.value, lsn: found.position.lsn });
    }
    return { nodeId: node.nodeId, log: loggedOf(frames, log), table, digest };
  }
}

function lastFrameOf(files: ReadonlyMap<string, Uint8Array>): DecodedFrame | undefined {
  return [...files].map(([name, content]) => decodeFiles(new Map([[name, content]])).frames.at(-1)).findLast((frame) => frame !== undefined);
}

/** The frames of a log; where a bit has rotted in a segment that nobody reads any more, those behind it. */
function soundEnd(files: ReadonlyMap<string, Uint8Array>, mayHaveRotted: boolean): readonly DecodedFrame[] {
  const decoded = decodeFiles(files);
  if (decoded.end.kind !== 'damaged' || !mayHaveRotted) return decoded.frames;
  const rest = new Map([...files].filter(([name]) => name > decoded.end.file));
  return rest.size === 0 ? decoded.frames : soundEnd(rest, true);
}

/** As the digest route tells it. */
async function digestOf(node: Node): Promise<NodeEnd['digest']> {
  const response: TransportResponse = await node.servePeer({ method: 'GET', target: '/peer/digest?at=0', headers: {} });
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body) chunks.push(chunk);
  const { lsn, chain, rowCount, sha256 } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as NodeEnd['digest'];
  return { lsn, chain, rowCount, sha256 };
}

function currentGeneration(machine: SimulatedMachine): string {
  const text = machine.disk.contents(DATA_DIRECTORY).get('CURRENT')!.toString('utf8');
  return (JSON.parse(text.slice(0, text.lastIndexOf('crc32:'))) as { generation: string }).generation;
}

function keyOf(lsn: number, chain: number): string {
  return `${lsn} ${chain}`;
}

function keysOf(log: readonly LoggedOperation[]): readonly string[] {
  return log.flatMap(({ operation }) => ('key' in operation ? [operation.key] : []));
}

/** A log that begins later says by number in which epoch; the id is that of the whole history. */
function loggedOf(frames: readonly DecodedFrame[], whole: readonly LoggedOperation[] = []): readonly LoggedOperation[] {
  let epochId = '';
  return frames.flatMap((frame) =>
    frame.operations.map((operation, index) => {
      const lsn = frame.lsns[index]!;
      if (operation.kind === 'epoch-begin') epochId = operation.epochId;
      else if (epochId === '') epochId = whole[lsn - 1]?.epochId ?? '';
      return { lsn, epochId, frameLsn: frame.firstLsn, operation: operationOf(operation) };
    }),
  );
}

function operationOf(decoded: DecodedOperation): Operation {
  switch (decoded.kind) {
    case 'put':
    case 'delete':
      return decoded;
    case 'epoch-end':
      return { kind: 'epoch-end', targetNodeId: decoded.targetNodeId, nextEpoch: { number: decoded.nextNumber, id: decoded.nextId } };
    case 'epoch-begin':
      return {
        kind: 'epoch-begin',
        begin: decoded.begin,
        epoch: { number: decoded.epochNumber, id: decoded.epochId },
        parent: decoded.parentNumber === 0 ? null : { number: decoded.parentNumber, id: decoded.parentId },
        parentEnd: { lsn: decoded.parentLastLsn, chain: decoded.parentChain },
        acceptedLoss: decoded.acceptedLoss,
      };
  }
}

function dataOperationOf(line: Record<string, unknown>): DataOperation {
  const key = String(line['key']);
  return line['kind'] === 'put' ? { kind: 'put', key, value: String(line['value']) } : { kind: 'delete', key };
}

function positionIn(text: unknown): Position {
  const position = parsePosition(String(text));
  if (position === undefined) throw new Error(`a salvage file names the position ${String(text)}`);
  return position;
}
