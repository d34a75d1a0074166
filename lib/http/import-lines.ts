/** What the lines of an import say, one after another: operations, or an export from its header to its footer. */
import { ShiplogError } from '../base/errors.ts';
import { EXPORT_FORMAT } from '../base/export-document.ts';
import { KIB } from '../base/limits.ts';
import type { DataOperation } from '../base/operation.ts';
import { type JsonObject, checkFields, checkValue, parseJsonObject } from './json-document.ts';
import { checkKey } from './key.ts';

const EXPECTED = '{"key":"…","value":"…"} or {"del":"…"}';
/** A shorter line can't hold enough brackets to be worth a look before it is parsed. */
const NESTING_CHECK_BYTES_MIN = 4 * KIB;

export class ImportLines {
  readonly #skip: number;
  #line = 0;
  #isExport = false;
  #hasFooter = false;

  /** The first `skip` lines are in the cluster already: they are counted, and not read. */
  constructor(skip: number) {
    this.#skip = skip;
  }

  /** Number of the line that was taken last; the first is 1. */
  get line(): number {
    return this.#line;
  }

  /** The operation of the next line; undefined where it has none, or is skipped. @throws ShiplogError saying what is wrong with it. */
  take(bytes: Buffer): DataOperation | undefined {
    this.#line += 1;
    if (this.#line <= this.#skip) {
      if (this.#line === 1) this.#isExport = isHeader(bytes);
      return undefined;
    }
    if (this.#hasFooter) throw new ShiplogError('bad-request', 'a line follows the footer of an export, expected nothing more');
    const fields = parseJsonObject(bytes, { what: 'the line', depthMax: bytes.length < NESTING_CHECK_BYTES_MIN ? undefined : 1 });
    if ('type' in fields) {
      this.#takeFrame(fields);
      return undefined;
    }
    return operationOf(fields);
  }

  /** After the last line. @throws ShiplogError `export-incomplete`, `bad-request` where there were fewer lines than were to be skipped. */
  end(): void {
    if (this.#line < this.#skip) throw new ShiplogError('bad-request', `the body has ${this.#line} lines, ${this.#skip} were to be skipped: is it the same file?`);
    if (this.#isExport && !this.#hasFooter && this.#line > this.#skip) throw new ShiplogError('export-incomplete', 'the export has no footer: it was cut, and what came of it was taken');
  }

  #takeFrame({ type, format, count, message }: JsonObject): void {
    switch (type) {
      case 'header':
        if (this.#line !== 1) throw new ShiplogError('bad-request', 'the header of an export stands here, expected it as the first line only');
        if (format !== EXPORT_FORMAT) throw new ShiplogError('bad-request', `the export has the format ${shown(format)}, this version takes ${EXPORT_FORMAT}`);
        this.#isExport = true;
        return;
      case 'footer':
        if (!this.#isExport) throw new ShiplogError('bad-request', 'the footer of an export stands here, but the first line is no header of one');
        if (count !== this.#line - 2) throw new ShiplogError('export-incomplete', `the export counts ${shown(count)} keys, here are ${this.#line - 2}: lines are missing, or were added`);
        this.#hasFooter = true;
        return;
      case 'failed':
        throw new ShiplogError('export-incomplete', `the export broke off when it was made: ${shown(message)}`);
      default:
        throw new ShiplogError('bad-request', `type is ${shown(type)}, expected header, footer, or a line like ${EXPECTED}`);
    }
  }
}

function isHeader(bytes: Buffer): boolean {
  try {
    return parseJsonObject(bytes, { what: 'the line', depthMax: 1 })['type'] === 'header';
  } catch {
    // It was taken before, so it was fine; and what is skipped is not judged.
    return false;
  }
}

function operationOf(fields: JsonObject): DataOperation {
  if ('key' in fields === 'del' in fields) throw new ShiplogError('bad-request', `the line has ${'key' in fields ? 'both key and del' : 'neither key nor del'}, expected ${EXPECTED}`);
  if ('key' in fields) {
    checkFields(fields, ['key', 'value'], 'the line');
    return { kind: 'put', key: checkKey(fields['key'], 'key'), value: checkValue(fields['value'], 'value') };
  }
  checkFields(fields, ['del'], 'the line');
  return { kind: 'delete', key: checkKey(fields['del'], 'del') };
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'missing').slice(0, 200);
}
