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
  readonly key: string;
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
  /** Where the next request begins; beyond the text where the body is not all there yet. */
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

  /** @param text bytes of the connection, one character each; the request begins at `index`. */
  next(text: string, index: number): HotRequest {
    const start = startAt(text, index);
    if (start === undefined) return this.#unfinished(text, index);
    const keyIndex = index + start.text.length;
    const keyEndIndex = text.indexOf(' ', keyIndex);
    if (keyEndIndex === -1) return this.#unfinished(text, index);
    const key = text.slice(keyIndex, keyEndIndex);
    if (!HOT_KEY.test(key)) return TARGET;
    const versionEndIndex = keyEndIndex + VERSION.length;
    if (!text.startsWith(VERSION, keyEndIndex)) return versionEndIndex > text.length ? this.#unfinished(text, index) : foreign('version');

    const isWrite = start.kind === 'write';
    const fields = this.#fieldsAt(text, versionEndIndex, isWrite);
    if (fields === undefined) return this.#unfinished(text, index);
    if (fields.kind === 'foreign') return fields;
    const headEndIndex = versionEndIndex + fields.text.length;
    if (headEndIndex - index > this.#headBytesMax) return foreign('large-head');
    if (!isWrite) return { kind: 'read', isHead: start.method === 'HEAD', key, endIndex: headEndIndex };

    const { host, bodyKind, bodyBytes } = fields;
    return { kind: 'write', method: start.method, keyIndex, keyEndIndex, host, bodyKind, bodyIndex: headEndIndex, endIndex: headEndIndex + bodyBytes };
  }

  /** Undefined where their end is not there yet. */
  #fieldsAt(text: string, index: number, isWrite: boolean): Fields | Foreign | undefined {
    const remembered = isWrite ? this.#writeFields : this.#readFields;
    if (remembered !== undefined && text.startsWith(remembered.text, index)) return remembered;
    // The empty line may be all there is.
    const end = text.startsWith(CRLF, index) ? index - CRLF.length : text.indexOf(EMPTY_LINE, index);
    if (end === -1) return undefined;
    const fields = parseFields(text.slice(index, end + EMPTY_LINE.length), isWrite);
    if (fields.kind === 'foreign') return fields;
    if (isWrite) this.#writeFields = fields;
    else this.#readFields = fields;
    return fields;
  }

  /** The end of a head is not there. */
  #unfinished(text: string, index: number): HotRequest {
    if (text.length - index > this.#headBytesMax) return foreign('large-head');
    const beginning = text.slice(index, index + START_LENGTH_MAX);
    if (STARTS.some((each) => beginning.startsWith(each.text) || each.text.startsWith(beginning))) return PARTIAL;
    return STARTS.some(({ method }) => beginning.startsWith(`${method} `)) ? TARGET : foreign('method');
  }
}

const STARTS = [
  { text: 'GET /get/', kind: 'read', method: 'GET' },
  { text: 'POST /set/', kind: 'write', method: 'POST' },
  { text: 'PUT /set/', kind: 'write', method: 'PUT' },
  { text: 'HEAD /get/', kind: 'read', method: 'HEAD' },
] as const;
const START_LENGTH_MAX = Math.max(...STARTS.map(({ text }) => text.length));
const VERSION = ' HTTP/1.1\r\n';
const CRLF = '\r\n';
const EMPTY_LINE = '\r\n\r\n';
const HOT_KEY = new RegExp(`^[\\x21\\x22\\x24\\x26-\\x3e\\x40-\\x7e]{1,${LIMITS.keyBytesMax}}$`);

function startAt(text: string, index: number): (typeof STARTS)[number] | undefined {
  for (const start of STARTS) if (text.startsWith(start.text, index)) return start;
  return undefined;
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
  readonly text: string;
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
  for (const line of lines === '' ? [] : lines.split(CRLF)) {
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
  // A copy: a slice would keep the whole chunk that it is from.
  const base = { kind: 'fields', text: copyOf(text), host: copyOf(host) } as const;
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

function copyOf(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}
