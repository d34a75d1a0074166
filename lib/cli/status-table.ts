/** What nodes said about themselves, as rows of a table and as remarks below it. Pure. */
import { epochTagOf } from '../base/position.ts';
import { takesWrites } from '../client/find-primary.ts';
import type { StatusDocument } from '../client/status-document.ts';
import type { NodeAnswer } from './status-survey.ts';
import { readableDuration } from './terminal.ts';

export const STATUS_HEADING: readonly string[] = ['node', 'role', 'state', 'epoch', 'visible', 'durable', 'lag', 'followers', 'uptime', 'url'];

export function statusRow(answer: NodeAnswer, answers: readonly NodeAnswer[]): readonly string[] {
  const { url, status } = answer;
  if (status === null) return silentRow(url, answers);
  return [
    status.name,
    roleOf(status),
    stateOf(status),
    epochOf(status),
    status.positions.visible,
    status.positions.durable,
    lagOf(status),
    followersOf(status),
    readableDuration(status.uptimeMs),
    url,
  ];
}

/** What somebody should know or do, a line each. `isWhole`: all members that are known were asked. */
export function remarksOn(answers: readonly NodeAnswer[], isWhole: boolean): readonly string[] {
  return [
    ...answers.flatMap(({ url, error }) => (error === undefined ? [] : [`${url}: ${error}`])),
    ...answers.flatMap(({ url, status }) => (status === null ? [] : remarksOf(url, status))),
    ...remarksOnPrimaries(answers, isWhole),
  ];
}

function remarksOf(url: string, status: StatusDocument): string[] {
  const { name, upstream, fence, promise, salvage } = status;
  const remarks: string[] = [];
  if (upstream !== null && !upstream.connected && upstream.lastError !== null && fence === null) {
    remarks.push(`${name} is cut off from ${upstream.url}: ${upstream.lastError}`);
  }
  if (fence !== null) {
    remarks.push(`${name} takes no part (${fence.kind}): ${fence.reason}`);
    if (fence.kind === 'diverged') remarks.push(`  to have it set its own operations aside and follow: shiplog rejoin ${url}`);
  }
  if (promise !== null && !takesWrites(status)) {
    remarks.push(`${name} has promised itself to epoch ${promise.epoch.number}.${epochTagOf(promise.epoch.id)} of ${promise.targetUrl}; if that promotion was interrupted: bin/promote ${promise.targetUrl}`);
  }
  if (salvage.length > 0) {
    remarks.push(`${name} keeps operations that a failover left behind: ${salvage.join(', ')}; to look at them, on its machine: shiplog salvage show --data-dir ${status.dataDirectory}`);
  }
  if (takesWrites(status)) remarks.push(...remarksOnMembers(status));
  return remarks;
}

/** Only the primary knows. While somebody is away, nobody becomes settled. */
function remarksOnMembers({ nodeId, members, followers }: StatusDocument): string[] {
  const others = members.filter((member) => member.nodeId !== nodeId);
  const unsettled = others.filter((member) => member.isSettled !== true);
  if (unsettled.length === 0) return [];
  const away = others.filter((member) => !followers.some((follower) => follower.nodeId === member.nodeId && follower.connected));
  const who = unsettled.map((member) => member.name).join(', ');
  const waitingFor = away.length === 0 ? '' : `; away: ${away.map((member) => member.name).join(', ')} (where it is gone for good: shiplog forget)`;
  return [`not counted for ack yet: ${who}; every replica has to know all members first${waitingFor}`];
}

function remarksOnPrimaries(answers: readonly NodeAnswer[], isWhole: boolean): string[] {
  const statuses = answers.flatMap(({ status }) => (status === null ? [] : [status]));
  const primaries = statuses.filter(takesWrites);
  const clusters = new Set(primaries.map((status) => status.clusterId));
  if (primaries.length > 1 && clusters.size === 1) {
    return [`${primaries.length} nodes take themselves for the primary: ${primaries.map((status) => `${status.name} (epoch ${epochOf(status)})`).join(', ')}; the one of the later epoch is, the other will notice as soon as they meet`];
  }
  if (!isWhole || primaries.length > 0 || statuses.length === 0) return [];
  return ['none of these nodes is the primary: writes wait for it; where it is gone for good: bin/promote URL of a replica'];
}

function silentRow(url: string, answers: readonly NodeAnswer[]): readonly string[] {
  const statuses = answers.flatMap(({ status }) => (status === null ? [] : [status]));
  const member = statuses.flatMap((status) => status.members).find((each) => each.url === url);
  const follower = statuses.filter(takesWrites).flatMap((status) => status.followers).find((each) => each.nodeId === member?.nodeId);
  return [member?.name ?? '-', '-', 'no answer', '-', '-', '-', follower === undefined ? '-' : `${follower.lagOperations} ops`, '-', '-', url];
}

/** The role in the data directory outlives the power that it gave. */
function roleOf({ role, fence }: StatusDocument): string {
  return role === 'primary' && fence !== null ? 'former primary' : role;
}

/** With what takes long: `bootstrapping, snapshot 45 %`. */
function stateOf(status: StatusDocument): string {
  const tasks = status.tasks.map(({ name, doneBytes, totalBytes }) =>
    totalBytes === null || totalBytes === 0 ? name : `${name} ${Math.floor((doneBytes / totalBytes) * 100)} %`,
  );
  return [status.state, ...tasks].join(', ');
}

/** As positions begin. */
function epochOf({ epoch }: StatusDocument): string {
  return epoch === null ? '-' : `${epoch.number}.${epochTagOf(epoch.id)}`;
}

function lagOf({ upstream }: StatusDocument): string {
  if (upstream === null) return '-';
  if (!upstream.connected || upstream.lagOperations === null) return 'unknown';
  return upstream.lagMs === null ? `${upstream.lagOperations} ops` : `${upstream.lagOperations} ops, ${readableDuration(upstream.lagMs)}`;
}

/** A former primary remembers those who follow another one now. */
function followersOf({ role, followers }: StatusDocument): string {
  const connected = followers.filter((follower) => follower.connected).length;
  return followers.length === 0 || (role === 'replica' && connected === 0) ? '-' : `${connected} of ${followers.length}`;
}
