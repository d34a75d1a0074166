/** The commands of a transcript. */
import { parseAckLevel } from '../../lib/base/ack-level.ts';
import type { WriteDurability } from '../../lib/node/node-api.ts';
import type { Moment } from './disk-faults.ts';
import { FAULT_WORDS, MESSAGE_WORDS } from './link-faults.ts';
import type { Stage, StartConfig } from './stage.ts';

type Said = readonly string[] | Promise<readonly string[]>;
type Groups = Readonly<Record<string, string | undefined>>;

interface Word {
  /** For readers. */
  readonly usage: string;
  readonly pattern: RegExp;
  /** Does what it says depend on what the nodes did? */
  readonly isJudging: boolean;
  readonly say: (stage: Stage, given: Groups) => Said;
}

const NAME = '[a-z]+';
const NAMES = `${NAME}(?: ${NAME})*`;
const TIME = '\\d+(?:ms|s)';
const WRITE_LIMITS = `(?: ack=(?<ack>\\w+))?(?: timeout=(?<timeout>${TIME}))?`;

const VOCABULARY: readonly Word[] = [
  // Machines
  act('machines a b c [keeping 8k to 32k of log]', `machines (?<names>${NAMES}?)(?: keeping (?<min>\\d+)k to (?<max>\\d+)k of log)?`, (stage, { names, min, max }) => stage.addMachines(listOf(names), retentionOf(min, max))),
  judge('start a [as a new cluster | following b | with peers b c]', `start (?<name>${NAME})(?:(?<isNew> as a new cluster)| following (?<follow>${NAME})| with peers (?<peers>${NAMES}))?`, (stage, given) => stage.start(given['name']!, configOf(given))),
  act('stop a', `stop (?<name>${NAME})`, (stage, { name }) => stage.stop(name!)),
  act('kill a', `kill (?<name>${NAME})`, (stage, { name }) => stage.kill(name!)),
  act('crash a', `crash (?<name>${NAME})`, (stage, { name }) => stage.crash(name!)),
  act('crash a before|after CURRENT is replaced', `crash (?<name>${NAME}) (?<moment>before|after) (?<file>[\\w.]+) is replaced`, (stage, { name, moment, file }) => stage.crashAtReplacing(name!, moment as Moment, file!)),
  act('crash a before|after its log grows', `crash (?<name>${NAME}) (?<moment>before|after) its log grows`, (stage, { name, moment }) => stage.crashAtLogging(name!, moment as Moment)),
  act('disk a snapshot', `disk (?<name>${NAME}) snapshot`, (stage, { name }) => stage.takeSnapshot(name!)),
  act('disk a roll back', `disk (?<name>${NAME}) roll back`, (stage, { name }) => stage.rollBack(name!)),
  act('disk a unmounted', `disk (?<name>${NAME}) unmounted`, (stage, { name }) => stage.unmount(name!)),
  act('disk a mounted', `disk (?<name>${NAME}) mounted`, (stage, { name }) => stage.mountAgain(name!)),
  act('disk a has 1k left', `disk (?<name>${NAME}) has (?<size>\\d+)k left`, (stage, { name, size }) => stage.leaveRoom(name!, 1024 * Number(size))),
  act('disk a has room', `disk (?<name>${NAME}) has room`, (stage, { name }) => stage.leaveRoom(name!, undefined)),

  // Network
  act('cut a from b c', `cut (?<name>${NAME}) from (?<others>${NAMES})`, (stage, { name, others }) => stage.cut(name!, listOf(others))),
  act('cut the way from a to b', `cut the way from (?<name>${NAME}) to (?<other>${NAME})`, (stage, { name, other }) => stage.cutOneWay(name!, other!)),
  act('join a and b', `join (?<name>${NAME}) and (?<other>${NAME})`, (stage, { name, other }) => stage.join(name!, other!)),
  act('reset a and b', `reset (?<name>${NAME}) and (?<other>${NAME})`, (stage, { name, other }) => stage.reset(name!, other!)),
  act('stall a', `stall (?<name>${NAME})`, (stage, { name }) => stage.stall(name!)),
  act('let a go on', `let (?<name>${NAME}) go on`, (stage, { name }) => stage.goOn(name!)),
  act(
    `${FAULT_WORDS.join('|')} [the next] ${MESSAGE_WORDS.join('|')} asked by a of b`,
    `(?<what>${FAULT_WORDS.join('|')})(?<isOnce> the next)? (?<message>${MESSAGE_WORDS.join('|')}) asked by (?<name>${NAME}) of (?<other>${NAME})`,
    (stage, { what, isOnce, message, name, other }) => stage.fault(what!, message!, name!, other!, isOnce !== undefined),
  ),
  act('heal', 'heal', (stage) => stage.heal()),

  // Time
  act('wait 5s', `wait (?<time>${TIME})`, (stage, { time }) => stage.wait(msOf(time!))),

  // Clients
  judge('set k=v at a [ack=1] [timeout=2s]', `set (?<key>[\\w.]+)=(?<value>\\S+) at (?<name>${NAME})${WRITE_LIMITS}`, (stage, given) => stage.set(keysOf(given['key']!), given['value']!, given['name']!, durabilityOf(given))),
  judge('del k at a [ack=1] [timeout=2s]', `del (?<key>\\w+) at (?<name>${NAME})${WRITE_LIMITS}`, (stage, given) => stage.delete(given['key']!, given['name']!, durabilityOf(given))),
  judge('get k at a [min=1.e1-7] [wait=1s]', `get (?<key>\\w+) at (?<name>${NAME})(?: min=(?<min>\\S+))?(?: wait=(?<time>${TIME}))?`, (stage, { key, name, min, time }) => stage.get(key!, name!, min, msOf(time ?? '5s'))),

  // Operators
  judge('promote a [--dry-run] [--force] [--accept-loss 3]', `promote (?<name>${NAME})(?<isDryRun> --dry-run)?(?<force> --force)?(?: --accept-loss (?<loss>\\d+|unknown))?`, (stage, { name, isDryRun, force, loss }) =>
    stage.promote(name!, { isDryRun: isDryRun !== undefined, force: force !== undefined, acceptLoss: loss === undefined ? null : loss === 'unknown' ? loss : Number(loss) }),
  ),
  act('rejoin a', `rejoin (?<name>${NAME})`, (stage, { name }) => stage.rejoin(name!)),
  act('forget a at b', `forget (?<name>${NAME}) at (?<other>${NAME})`, (stage, { name, other }) => stage.forget(name!, other!)),

  // What is to be seen
  judge('status', 'status', (stage) => stage.status()),
  judge('ready at a', `ready at (?<name>${NAME})`, (stage, { name }) => stage.ready(name!)),
  judge('log at a', `log at (?<name>${NAME})`, (stage, { name }) => stage.log(name!)),
  judge('members at a', `members at (?<name>${NAME})`, (stage, { name }) => stage.members(name!)),
  judge('table', 'table', (stage) => stage.table()),
  judge('salvage at a', `salvage at (?<name>${NAME})`, (stage, { name }) => stage.salvage(name!)),
  judge('end [without a: why]', `end(?: without (?<names>${NAMES}): .+)?`, (stage, { names }) => stage.end(listOf(names))),
];

function act(usage: string, pattern: string, say: Word['say']): Word {
  return { usage, pattern: new RegExp(`^${pattern}$`), isJudging: false, say };
}

function judge(usage: string, pattern: string, say: Word['say']): Word {
  return { ...act(usage, pattern, say), isJudging: true };
}

/** Any of them can be begun, and finished later with the same words. */
const ASIDE = /^(?<how>begin|finish) (?<text>.+)$/;

export function perform(stage: Stage, text: string): Promise<readonly string[]> {
  const { how, text: inner } = ASIDE.exec(text)?.groups ?? {};
  if (how === 'finish') return stage.play(() => stage.finish(inner!));
  const { word, given } = wordOf(inner ?? text);
  const say = (): Said => word.say(stage, given);
  return stage.play(how === 'begin' ? () => stage.begin(inner!, say) : say);
}

/** @throws Error where the commands could not show anything, whatever the nodes do. */
export function assertJudged(commands: readonly { readonly text: string }[]): void {
  const judging = commands.filter(({ text }) => !text.startsWith('begin ') && (text.startsWith('finish ') || wordOf(text).word.isJudging));
  if (judging.length === 0) throw new Error('no command looks at what the nodes did');
  const last = commands.at(-1)!.text;
  if (!/^end\b/.test(last)) throw new Error(`a story ends with "end", not with ${JSON.stringify(last)}`);
}

function wordOf(text: string): { readonly word: Word; readonly given: Groups } {
  for (const word of VOCABULARY) {
    const match = word.pattern.exec(text);
    if (match !== null) return { word, given: match.groups ?? {} };
  }
  throw new Error(`unknown command ${JSON.stringify(text)}; there are:\n${VOCABULARY.map(({ usage }) => `  ${usage}`).join('\n')}\n  begin <command>, finish <command>`);
}

function listOf(names: string | undefined): readonly string[] {
  return names === undefined ? [] : names.split(' ');
}

function msOf(time: string): number {
  return time.endsWith('ms') ? Number(time.slice(0, -2)) : 1_000 * Number(time.slice(0, -1));
}

/** `n1..n30` is thirty keys. */
function keysOf(text: string): readonly string[] {
  const [, stem, from, to] = /^([a-z]+)(\d+)\.\.\1(\d+)$/.exec(text) ?? [];
  if (stem === undefined) return [text];
  return Array.from({ length: Number(to) - Number(from) + 1 }, (_, index) => `${stem}${Number(from) + index}`);
}

function configOf({ isNew, follow, peers }: Groups): StartConfig | undefined {
  if (isNew === undefined && follow === undefined && peers === undefined) return undefined;
  return { isNewCluster: isNew !== undefined, ...(follow !== undefined && { follow }), peers: listOf(peers) };
}

function durabilityOf({ ack, timeout }: Groups): WriteDurability {
  const level = ack === undefined ? undefined : parseAckLevel(ack);
  if (ack !== undefined && level === undefined) throw new Error(`there is no level ${ack}`);
  return { ...(level !== undefined && { ack: level }), ...(timeout !== undefined && { timeoutMs: msOf(timeout) }) };
}

function retentionOf(min: string | undefined, max: string | undefined): Parameters<Stage['addMachines']>[1] {
  if (min === undefined || max === undefined) return {};
  return { retention: { bytesMin: 1024 * Number(min), msMin: 0, bytesMax: 1024 * Number(max), msMax: 3_600_000 } };
}
