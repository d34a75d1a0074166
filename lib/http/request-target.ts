/**
 * The request target as it came over the wire. Keys may hold any byte, so nothing between the wire
 * and key.ts may decode, normalise or guess: Koa and its router only ever see `route`, from which
 * the key has been cut off.
 */
import { ShiplogError } from '../base/errors.ts';
import { parseHostName } from './host-name.ts';

export type DataRoute = '/get/' | '/set/' | '/del/';

export interface RequestTarget {
  /** Path and query, still encoded, without scheme and authority: fit to be sent on. */
  readonly raw: string;
  /** What the router matches: the path, or the prefix alone where a key or a name follows it. */
  readonly route: string;
  /** The key, still percent-encoded, one character per byte; undefined where the path carries none. */
  readonly rawKey: string | undefined;
  /** After the `?`, still encoded; empty where there is none. */
  readonly query: string;
  /** `host:port` of a target in absolute form; it counts instead of the Host header (RFC 9112, 3.2.2). */
  readonly authority: string | undefined;
}

/** @throws ShiplogError `bad-request` where the target is neither a path nor an http URL. */
export function parseRequestTarget(target: string): RequestTarget {
  if (target.charCodeAt(0) === SLASH) return fromPath(target, undefined);

  const absolute = /^https?:\/\/([^/?#]*)([^]*)$/i.exec(target);
  if (absolute === null) {
    throw new ShiplogError('bad-request', `the request target is ${quoted(target)}, expected a path like /get/key or an http:// URL`);
  }
  const [, authority, rest] = absolute as unknown as [string, string, string];
  if (parseHostName(authority) === undefined) {
    throw new ShiplogError('bad-request', `the URL of the request names ${quoted(authority)} as its host, expected host or host:port`);
  }
  return fromPath(rest.startsWith('/') ? rest : `/${rest}`, authority);
}

/** True for the calls whose answers carry a position. */
export function isDataTarget(target: RequestTarget): boolean {
  return target.rawKey !== undefined || BULK_ROUTES.has(target.route);
}

/**
 * The decoded query. A name that comes twice is refused: which one counts would be a guess.
 * @throws ShiplogError `bad-request` naming what is wrong.
 */
export function parseQuery(query: string): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const field of query.split('&')) {
    if (field === '') continue;
    const equals = field.indexOf('=');
    const name = decodeField(equals === -1 ? field : field.slice(0, equals));
    if (parameters.has(name)) throw new ShiplogError('bad-request', `the query names ${quoted(name)} twice`);
    parameters.set(name, equals === -1 ? '' : decodeField(field.slice(equals + 1)));
  }
  return parameters;
}

const SLASH = 0x2f;
const DATA_ROUTES: ReadonlySet<string> = new Set<DataRoute>(['/get/', '/set/', '/del/']);
/** Many keys in one request. */
const BULK_ROUTES: ReadonlySet<string> = new Set(['/batch', '/mget', '/import', '/export']);
const DATA_ROUTE_LENGTH = 5;
const PEER_ROUTE = '/peer/';

function fromPath(raw: string, authority: string | undefined): RequestTarget {
  if (raw.includes('#')) {
    throw new ShiplogError('bad-request', `the request target has a # at position ${raw.indexOf('#')}; in a key it is written %23`);
  }
  const mark = raw.indexOf('?');
  const path = mark === -1 ? raw : raw.slice(0, mark);
  const query = mark === -1 ? '' : raw.slice(mark + 1);

  const prefix = path.slice(0, DATA_ROUTE_LENGTH);
  if (DATA_ROUTES.has(prefix)) {
    return { raw, route: prefix, rawKey: path.slice(DATA_ROUTE_LENGTH), query, authority };
  }
  return { raw, route: routeOf(path), rawKey: undefined, query, authority };
}

function routeOf(path: string): string {
  if (path.startsWith(PEER_ROUTE)) return PEER_ROUTE;
  // Koa parses its URL again, with url.parse as soon as it finds an odd character: keep those away from it.
  return /^[\w./~-]*$/.test(path) ? path : '/%';
}

function decodeField(field: string): string {
  try {
    return decodeURIComponent(field.replaceAll('+', ' '));
  } catch {
    throw new ShiplogError('bad-request', `the query holds ${quoted(field)}, which is not percent-encoded UTF-8`);
  }
}

/** For messages: quoted, on one line, never long. */
function quoted(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
