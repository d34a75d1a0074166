/** Who the primary is, as far as the nodes say that one node knows of. */
import type { ShiplogClient } from './shiplog-client.ts';
import type { StatusDocument } from './status-document.ts';

export interface FoundPrimary {
  /** Of the node that was asked first. */
  readonly start: StatusDocument;
  /** All that answered, the first one included. */
  readonly answers: readonly StatusDocument[];
  /** Undefined where none of them takes writes. */
  readonly primary: { readonly client: ShiplogClient; readonly status: StatusDocument } | undefined;
}

/**
 * Asks `client`, its members and its upstream. Where several call themselves primary, the one of the
 * latest epoch counts: an old one that is cut off may not know of it yet.
 * @throws the errors of the client where the first node does not answer; the others may be silent.
 */
export async function findPrimary(client: ShiplogClient, clientAt: (url: string) => ShiplogClient): Promise<FoundPrimary> {
  const start = await client.status();
  const urls = new Set([...start.members.map((member) => member.url), ...(start.upstream === null ? [] : [start.upstream.url])]);
  const others = [...urls].filter((url) => url !== start.url && url !== client.url).map(clientAt);
  const asked = await Promise.all(others.map(async (other) => ({ client: other, status: await other.status().catch(() => undefined) })));
  const answers = [{ client, status: start }, ...asked.flatMap(({ client, status }) => (status === undefined || status.clusterId !== start.clusterId ? [] : [{ client, status }]))];
  const primaries = answers.filter(({ status }) => takesWrites(status)).toSorted((one, other) => epochNumber(other.status) - epochNumber(one.status));
  return { start, answers: answers.map(({ status }) => status), primary: primaries[0] };
}

/** A fenced node still has the role, but not the power. */
export function takesWrites(status: StatusDocument): boolean {
  return status.role === 'primary' && (status.state === 'primary' || status.state === 'handing-over');
}

function epochNumber(status: StatusDocument): number {
  return status.epoch?.number ?? 0;
}
