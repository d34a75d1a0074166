/**
 * Reads the requests that nearly all traffic consists of, and nothing else:
 *
 *   request = ( "GET" / "HEAD" ) " /get/" key " HTTP/1.1" CRLF *field CRLF
 *           / ( "POST" / "PUT" ) " /set/" key " HTTP/1.1" CRLF *field CRLF body
 *   key     = 1*1024( %x21-7E except "%", "?" and "#" )
 *   field   = name ":" *( SP / HTAB ) value *( SP / HTAB ) CRLF
 *   value   = what is printable in ASCII, and SP and HTAB within
 *
 * Every name has to be one of those below. `Host` comes exactly once, `Content-Length` once with a body and
 * never without. Whatever is written in any other way, however harmless, is foreign: Node's parser
 * decides about it. So this one never has to be clever, only to be sure: what it takes, it has to read
 * exactly as Node and the routes behind Koa would.
 */
import { KIB, LIMITS } from '../../base/limits.ts';
import { type BodyKind, bodyKindOf } from '../value.ts';

/** Why a request is not read here. */
export const FOREIGN_REASONS = [
  'method',
  'target',
  'version',
  'field',
  'host',
  'accept',
  'connection',
  'length',
  'body-type',
  'large-head',
  'large-body',
] as const;
export type ForeignReason = (typeof FOREIGN_REASONS)[number];

export interface HotRead {
  readonly kind: 'read';
  readonly isHead: boolean;
  readonly keyIndex: number;
  readonly keyEndIndex: number;
  /** Where the next request begins. */
  readonly endIndex: number;
}

export interface HotWrite {
  readonly kind: 'write';
  readonly method: 'POST' | 'PUT';
  readonly keyIndex: number;
  readonly keyEndIndex: number;
  readonly host: string;
  readonly bodyKind: BodyKind;
  readonly bodyIndex: number;
  /** Where the next request begins; beyond the bytes where the body is not all there yet. */
  readonly endIndex: number;
}

export type HotRequest =
  | HotRead
  | HotWrite
  /** May become a hot request with more bytes. */
  | { readonly kind: 'partial' }
  | { readonly kind: 'foreign'; readonly reason: ForeignReason };

/** Longer heads are not those of programs that want to be fast. */
export const HOT_HEAD_BYTES_MAX = 4 * KIB;
export const HOT_BODY_BYTES_MAX = 64 * KIB;

/** Of one connection: a client sends the same fields with every request, so the last ones are remembered. */
export class HotRequestReader {
  readonly #headBytesMax: number;
  #readFields: Fields | undefined;
  #writeFields: Fields | undefined;

  /** @param headBytesMax longer heads are foreign. */
  constructor(headBytesMax: number) {
    this.#headBytesMax = headBytesMax;
  }

  /** @param bytes of the connection; the request begins at `index`. */
  next(bytes: Buffer, index: number): HotRequest {
    const start = startAt(bytes, index);
    if (start === undefined) return this.#unfinished(bytes, index);
    const keyIndex = index + start.bytes.length;
    const keyEndIndex = endOfKey(bytes, keyIndex);
    if (keyEndIndex === bytes.length) return this.#unfinished(bytes, index);
    const keyBytes = keyEndIndex - keyIndex;
    if (bytes[keyEndIndex] !== SPACE || keyBytes === 0 || keyBytes > LIMITS.keyBytesMax) return TARGET;
    const versionEndIndex = keyEndIndex + VERSION.length;
    if (!standsAt(bytes, keyEndIndex, VERSION)) return versionEndIndex > bytes.length ? this.#unfinished(bytes, index) : foreign('version');

    const isWrite = start.kind === 'write';
    const fields = this.#fieldsAt(bytes, versionEndIndex, isWrite);
    if (fields === undefined) return this.#unfinished(bytes, index);
    if (fields.kind === 'foreign') return fields;
    const headEndIndex = versionEndIndex + fields.bytes.length;
    if (headEndIndex - index > this.#headBytesMax) return foreign('large-head');
    if (!isWrite) return { kind: 'read', isHead: start.method === 'HEAD', keyIndex, keyEndIndex, endIndex: headEndIndex };

    const { host, bodyKind, bodyBytes } = fields;
    return { kind: 'write', method: start.method, keyIndex, keyEndIndex, host, bodyKind, bodyIndex: headEndIndex, endIndex: headEndIndex + bodyBytes };
  }

  /** Undefined where their end is not there yet. */
  #fieldsAt(bytes: Buffer, index: number, isWrite: boolean): Fields | Foreign | undefined {
    const remembered = isWrite ? this.#writeFields : this.#readFields;
    if (remembered !== undefined && standsAt(bytes, index, remembered.bytes)) return remembered;
    // The empty line may be all there is.
    const end = standsAt(bytes, index, CRLF) ? index - CRLF.length : bytes.indexOf(EMPTY_LINE, index);
    if (end === -1) return undefined;
    const fields = parseFields(bytes.toString('latin1', index, end + EMPTY_LINE.length), isWrite);
    if (fields.kind === 'foreign') return fields;
    if (isWrite) this.#writeFields = fields;
    else this.#readFields = fields;
    return fields;
  }

  /** The end of a head is not there. */
  #unfinished(bytes: Buffer, index: number): HotRequest {
    if (bytes.length - index > this.#headBytesMax) return foreign('large-head');
    const beginning = bytes.toString('latin1', index, index + START_LENGTH_MAX);
    if (STARTS.some(({ text }) => beginning.startsWith(text) || text.startsWith(beginning))) return PARTIAL;
    return STARTS.some(({ method }) => beginning.startsWith(`${method} `)) ? TARGET : foreign('method');
  }
}

const STARTS = [start('GET', '/get/', 'read'), start('POST', '/set/', 'write'), start('PUT', '/set/', 'write'), start('HEAD', '/get/', 'read')] as const;
const START_LENGTH_MAX = Math.max(...STARTS.map(({ text }) => text.length));
const SPACE = 0x20;
const VERSION = Buffer.from(' HTTP/1.1\r\n');
const CRLF = Buffer.from('\r\n');
const EMPTY_LINE = Buffer.from('\r\n\r\n');
/** By byte, whether it may be in a key. */
const IN_KEY = Uint8Array.from({ length: 256 }, (_, byte) => (byte > SPACE && byte < 0x7f && !'%?#'.includes(String.fromCharCode(byte)) ? 1 : 0));

interface Start {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT';
  readonly kind: 'read' | 'write';
  readonly text: string;
  readonly bytes: Buffer;
}

function start<const Method extends Start['method'], const Kind extends Start['kind']>(method: Method, route: string, kind: Kind) {
  const text = `${method} ${route}`;
  return { method, kind, text, bytes: Buffer.from(text) };
}

function startAt(bytes: Buffer, index: number): (typeof STARTS)[number] | undefined {
  for (const each of STARTS) if (standsAt(bytes, index, each.bytes)) return each;
  return undefined;
}

function standsAt(bytes: Buffer, index: number, expected: Buffer): boolean {
  if (index + expected.length > bytes.length) return false;
  for (let at = 0; at < expected.length; at += 1) if (bytes[index + at] !== expected[at]) return false;
  return true;
}

/** @returns the first index from `index` on that is not in the key. */
function endOfKey(bytes: Buffer, index: number): number {
  let end = index;
  while (end < bytes.length && IN_KEY[bytes[end]!] === 1) end += 1;
  return end;
}

interface Foreign {
  readonly kind: 'foreign';
  readonly reason: ForeignReason;
}

const PARTIAL = { kind: 'partial' } as const;
const TARGET: Foreign = { kind: 'foreign', reason: 'target' };

/** What all the fields of a head together say. */
interface Fields {
  readonly kind: 'fields';
  /** All lines and the empty one. */
  readonly bytes: Buffer;
  readonly host: string;
  /** 0 for a read. */
  readonly bodyBytes: number;
  readonly bodyKind: BodyKind;
}

/** Fields that have no effect here: on no answer, on no write. */
const IGNORED: ReadonlySet<string> = new Set([
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'authorization',
  'cache-control',
  'cookie',
  'dnt',
  'forwarded',
  'from',
  'pragma',
  'priority',
  'referer',
  'sec-fetch-dest',
  'sec-fetch-mode',
  'traceparent',
  'tracestate',
  'user-agent',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-real-ip',
  'x-request-id',
]);

/** Fields that say something; each may come once. */
const HEEDED: ReadonlySet<string> = new Set(['host', 'accept', 'connection', 'content-length', 'content-type']);

const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?[ \t]*$/;
const LENGTH = /^(?:0|[1-9]\d{0,8})$/;

/** @param text the lines of the fields and the empty one */
function parseFields(text: string, isWrite: boolean): Fields | Foreign {
  const heeded = new Map<string, string>();
  const lines = text.slice(0, -EMPTY_LINE.length);
  for (const line of lines === '' ? [] : lines.split('\r\n')) {
    const match = FIELD.exec(line);
    if (match === null) return foreign('field');
    const name = match[1]!.toLowerCase();
    if (IGNORED.has(name)) continue;
    if (!HEEDED.has(name) || heeded.has(name)) return foreign('field');
    heeded.set(name, match[2] ?? '');
  }

  const host = heeded.get('host');
  if (host === undefined || host === '') return foreign('host');
  if ((heeded.get('accept') ?? '*/*') !== '*/*') return foreign('accept');
  if ((heeded.get('connection') ?? 'keep-alive').toLowerCase() !== 'keep-alive') return foreign('connection');
  const length = heeded.get('content-length');
  const base = { kind: 'fields', bytes: Buffer.from(text, 'latin1'), host } as const;
  if (!isWrite) return length === undefined ? { ...base, bodyBytes: 0, bodyKind: 'text' } : foreign('length');

  if (length === undefined || !LENGTH.test(length)) return foreign('length');
  const bodyBytes = Number(length);
  if (bodyBytes > HOT_BODY_BYTES_MAX) return foreign('large-body');
  const bodyKind = bodyKindIn(heeded.get('content-type'));
  return bodyKind === undefined ? foreign('body-type') : { ...base, bodyBytes, bodyKind };
}

/** Undefined where the type is refused: how, the route knows. */
function bodyKindIn(contentType: string | undefined): BodyKind | undefined {
  try {
    return bodyKindOf(contentType === undefined ? {} : { 'content-type': contentType });
  } catch {
    return undefined;
  }
}

function foreign(reason: ForeignReason): Foreign {
  return { kind: 'foreign', reason };
}
