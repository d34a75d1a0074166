/**
 * Keeps web pages from changing data. A browser sends requests wherever a page asks it to, loopback
 * included; what gives them away is their Origin, Sec-Fetch-Site and, after DNS rebinding, a Host that
 * is none of ours.
 */
import type { IncomingHttpHeaders } from 'node:http';

import { ShiplogError } from '../base/errors.ts';
import { parseHostName } from './host-name.ts';

export class WriteGuard {
  readonly #allowed: ReadonlySet<string>;

  /**
   * @param allowedHosts `name` or `name:port`; a name without a port stands for all its ports. Loopback
   * names are always allowed.
   */
  constructor(allowedHosts: readonly string[]) {
    this.#allowed = new Set(allowedHosts.map((host) => host.toLowerCase()));
  }

  /**
   * @param authority of a target in absolute form, which counts instead of the Host header.
   * @throws ShiplogError `foreign-host` or `foreign-origin`.
   */
  check(headers: IncomingHttpHeaders, authority: string | undefined): void {
    if (authority !== undefined) this.#checkHost(authority);
    if (headers.host !== undefined || authority === undefined) this.#checkHost(headers.host ?? '');
    const { origin } = headers;
    if (origin !== undefined) checkOrigin(origin, authority ?? headers.host!);

    const site = headers['sec-fetch-site'];
    if (site === 'cross-site' || site === 'same-site') {
      throw new ShiplogError('foreign-origin', `Sec-Fetch-Site is ${site}, expected same-origin or none: pages of other sites may not change data`);
    }
  }

  #checkHost(host: string): void {
    const parsed = parseHostName(host);
    if (parsed !== undefined) {
      if (isLoopback(parsed.name) || this.#allowed.has(parsed.name) || this.#allowed.has(host.toLowerCase())) return;
    }
    throw new ShiplogError(
      'foreign-host',
      `the Host is ${JSON.stringify(host.slice(0, 100))}, expected a loopback name or one that this node knows as its own; others have to be listed in allowedHosts`,
    );
  }
}

function isLoopback(name: string): boolean {
  return name === 'localhost' || name === '[::1]' || name.endsWith('.localhost') || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
}

function checkOrigin(origin: string, host: string): void {
  const own = parseHostName(host);
  const match = /^(https?):\/\/(.*)$/i.exec(origin);
  const foreign = match === null ? undefined : parseHostName(match[2]!);
  if (match !== null && foreign !== undefined && own !== undefined) {
    const defaultPort = match[1]!.toLowerCase() === 'https' ? '443' : '80';
    if (foreign.name === own.name && (foreign.port ?? defaultPort) === (own.port ?? defaultPort)) return;
  }
  throw new ShiplogError('foreign-origin', `the Origin is ${JSON.stringify(origin.slice(0, 100))}, expected none or that of ${host}: pages of other origins may not change data`);
}
