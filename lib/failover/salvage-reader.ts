/**
 * Reads a salvage file that may be larger than memory. `open` reads all of it once: nobody acts on an
 * operation before the file is known to be whole. What was read then is read again by `operations`.
 */
import { crc32 } from 'node:zlib';
import type { EpochHistory } from '../base/epoch-history.ts';
import { KIB, LIMITS, MIB } from '../base/limits.ts';
import type { Disk } from '../env/disk.ts';
import { type SalvageFooter, type SalvageHeader, type SalvagedOperation, formatChecksum, parseSalvageHeader, parseSalvageLine, salvageDamaged, salvageHistoryOf } from './salvage-file.ts';

const CHUNK_BYTES = 256 * KIB;
/** JSON writes one byte as up to six. A header holds an epoch in about 150. */
const LINE_BYTES_MAX = 6 * (LIMITS.valueBytesMax + LIMITS.keyBytesMax) + 16 * MIB;
const NEWLINE = 0x0a;

export interface ReadOperation {
  readonly operation: SalvagedOperation;
  /** Bytes of the file up to and with this operation: for progress. */
  readonly endOffset: number;
}

export interface SalvageReaderOptions {
  /** While the file is verified. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  /** Called for each operation of a file that is not known to be whole yet. */
  readonly onOperation?: (operation: SalvagedOperation) => void;
}

export class SalvageReader {
  readonly path: string;
  readonly header: SalvageHeader;
  /** History that was given up. */
  readonly history: EpochHistory;
  readonly sizeBytes: number;
  readonly operationCount: number;
  readonly #disk: Disk;

  private constructor(disk: Disk, path: string, header: SalvageHeader, sizeBytes: number, operationCount: number) {
    this.#disk = disk;
    this.path = path;
    this.header = header;
    this.history = salvageHistoryOf(path, header);
    this.sizeBytes = sizeBytes;
    this.operationCount = operationCount;
  }

  /** @throws ShiplogError `data-directory-invalid`, naming the file, where it is cut or damaged anywhere. */
  static async open(disk: Disk, path: string, options: SalvageReaderOptions = {}): Promise<SalvageReader> {
    let header: SalvageHeader | undefined;
    let footer: SalvageFooter | undefined;
    let checksum = 0;
    let operationCount = 0;
    let lineNumber = 0;
    let sizeBytes = 0;
    for await (const { bytes, endOffset, fileBytes } of linesOf(disk, path)) {
      if (footer !== undefined) throw salvageDamaged(path, 'there is something behind its footer');
      const text = bytes.toString('utf8');
      lineNumber += 1;
      sizeBytes = endOffset;
      options.onProgress?.(endOffset, fileBytes);
      if (header === undefined) {
        header = parseSalvageHeader(path, text);
      } else {
        const line = parseSalvageLine(path, lineNumber, text);
        if (line.type === 'footer') {
          footer = line.footer;
          continue;
        }
        operationCount += 1;
        options.onOperation?.(line.operation);
      }
      checksum = crc32(bytes, checksum);
    }
    if (header === undefined) throw salvageDamaged(path, 'it is empty');
    if (footer === undefined) throw salvageDamaged(path, `it ends without a footer, after ${operationCount} operations: it was cut`);
    if (footer.operations !== operationCount) throw salvageDamaged(path, `it holds ${operationCount} operations, its footer says ${footer.operations}`);
    if (footer.crc32 !== formatChecksum(checksum)) throw salvageDamaged(path, `its lines have the checksum ${formatChecksum(checksum)}, its footer says ${footer.crc32}`);
    return new SalvageReader(disk, path, header, sizeBytes, operationCount);
  }

  /** The operations in the order of the file. */
  async *operations(): AsyncGenerator<ReadOperation, void> {
    let lineNumber = 0;
    for await (const { bytes, endOffset } of linesOf(this.#disk, this.path)) {
      lineNumber += 1;
      if (lineNumber === 1) continue;
      const line = parseSalvageLine(this.path, lineNumber, bytes.toString('utf8'));
      if (line.type === 'operation') yield { operation: line.operation, endOffset };
    }
  }
}

/**
 * Header and footer alone, however large the file is: enough for a list.
 * @throws ShiplogError `data-directory-invalid`, naming the file, where one of them is missing or damaged.
 */
export async function readSalvageEnds(disk: Disk, path: string): Promise<{ readonly header: SalvageHeader; readonly footer: SalvageFooter; readonly sizeBytes: number }> {
  let header: SalvageHeader | undefined;
  for await (const { bytes } of linesOf(disk, path)) {
    header = parseSalvageHeader(path, bytes.toString('utf8'));
    break;
  }
  if (header === undefined) throw salvageDamaged(path, 'it is empty');
  const { tail, sizeBytes } = await readTail(disk, path);
  const lastLine = /(?:^|\n)(\{"footer":.*\})\n$/.exec(tail)?.[1];
  const line = lastLine === undefined ? undefined : parseSalvageLine(path, 0, lastLine);
  if (line?.type !== 'footer') throw salvageDamaged(path, 'it ends without a footer: it was cut');
  return { header, footer: line.footer, sizeBytes };
}

const TAIL_BYTES = 512;

async function readTail(disk: Disk, path: string): Promise<{ readonly tail: string; readonly sizeBytes: number }> {
  const file = await disk.open(path, { mode: 'read' });
  try {
    const sizeBytes = await file.size();
    const bytes = Buffer.alloc(Math.min(TAIL_BYTES, sizeBytes));
    const count = await file.readAt(sizeBytes - bytes.length, bytes);
    return { tail: bytes.toString('utf8', 0, count), sizeBytes };
  } finally {
    await file.close();
  }
}

interface Line {
  /** Newline included. */
  readonly bytes: Buffer;
  readonly endOffset: number;
  /** Size of the whole file. */
  readonly fileBytes: number;
}

async function* linesOf(disk: Disk, path: string): AsyncGenerator<Line, void> {
  const file = await disk.open(path, { mode: 'read' });
  try {
    const fileBytes = await file.size();
    const chunk = Buffer.alloc(CHUNK_BYTES);
    // Of the line that is not complete yet. Joined once: a line can have hundreds of chunks.
    let pieces: Buffer[] = [];
    let pieceBytes = 0;
    for (let offset = 0; ; ) {
      const count = await file.readAt(offset, chunk);
      if (count === 0) break;
      let start = 0;
      for (let newline = chunk.indexOf(NEWLINE); newline !== -1 && newline < count; newline = chunk.indexOf(NEWLINE, start)) {
        const end = newline + 1;
        yield { bytes: Buffer.concat([...pieces, chunk.subarray(start, end)]), endOffset: offset + end, fileBytes };
        pieces = [];
        pieceBytes = 0;
        start = end;
      }
      if (start < count) {
        pieces.push(Buffer.from(chunk.subarray(start, count)));
        pieceBytes += count - start;
        if (pieceBytes > LINE_BYTES_MAX) throw salvageDamaged(path, `it has a line of more than ${LINE_BYTES_MAX} bytes`);
      }
      offset += count;
    }
    if (pieceBytes > 0) throw salvageDamaged(path, 'its last line has no end: it was cut');
  } finally {
    await file.close();
  }
}
