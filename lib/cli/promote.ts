/**
 * `shiplog promote`, which is also bin/promote. The node that becomes the primary does the work; this
 * asks for the plan, asks whether to go on, and tells what happens. So it may die at any moment, and
 * whoever runs it again finds the job done or finishes it.
 */
import { type Command, InvalidArgumentError } from 'commander';
import { epochTagOf } from '../base/position.ts';
import { findPrimary } from '../client/find-primary.ts';
import type { PlannedMember, PromoteEvent, PromoteRequest, PromotionKind, PromotionOutcome, PromotionPlan, PromotionRefusal } from '../client/promotion-document.ts';
import { TransportError } from '../env/transport.ts';
import { printable } from '../observe/printable.ts';
import { type CommandContext, clientOf, defaultUrl, parseUrl } from './command-context.ts';
import { canAsk, isConfirmed } from './question.ts';
import type { StepBar } from './step-bar.ts';

interface PromoteFlags {
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly force?: boolean;
  readonly acceptLoss?: number | 'unknown';
  readonly json?: boolean;
}

export function addPromoteCommand(program: Command, context: CommandContext): void {
  const promote: Command = program.command('promote');
  promote
    .summary('make a replica the primary (bin/promote)')
    .description(
      'Makes a replica the primary. While the primary answers this is a switchover, which loses nothing; else a failover, which is refused ' +
        'where another node holds more. Shows the plan and asks before anything is changed. Running it again finishes a job that was interrupted.',
    )
    .argument('[url]', 'the node that is to be the primary (default: the one replica that the default node knows)', parseUrl)
    .option('--yes', 'go on without asking, e.g. from cron')
    .option('--dry-run', 'show the plan and change nothing')
    .option('--force', 'override what makes a failover refuse, within --accept-loss')
    .option('--accept-loss <operations>', 'most operations that may be given up, or "unknown"', parseAcceptLoss)
    .option('--json', 'print what happens as JSON, a line each: plan, step, and at the end promoted or refused')
    .addHelpText(
      'after',
      `
Examples:
  $ bin/promote http://10.0.0.2:4455
  $ bin/promote http://10.0.0.2:4455 --yes --json
  $ bin/promote http://10.0.0.2:4455 --dry-run
  $ bin/promote http://10.0.0.2:4455 --force --accept-loss 12

Exit code 7: refused, also by a dry run; the message says why, and which command goes on.
Exit code 6: the end was not heard; run it again. Exit code 1: you said no.`,
    )
    .action(async (url: string | undefined, flags: PromoteFlags) => {
      if (flags.acceptLoss !== undefined && flags.force !== true) promote.error('error: --accept-loss goes with --force');
      if (flags.yes !== true && flags.dryRun !== true && !canAsk(context)) {
        promote.error('error: there is no terminal to ask at: add --yes to go on without being asked, or --dry-run to see the plan');
      }
      const choice: Choice = url === undefined ? await onlyReplica(context) : { url, isSwitchover: false };
      if ('reason' in choice) promote.error(`error: ${choice.reason}`);
      // The second run of such a line would switch back.
      if (url === undefined && choice.isSwitchover && flags.yes === true) promote.error(`error: with --yes, name the node: ${commandFor(choice.url)} --yes`);
      await new PromotionRun(context, choice.url, flags).run();
    });
}

function parseAcceptLoss(text: string): number | 'unknown' {
  if (text === 'unknown') return text;
  const count = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(count)) return count;
  throw new InvalidArgumentError('Expected a number of operations, or "unknown".');
}

/** `reason`: why there is no choice. */
type Choice = { readonly url: string; readonly isSwitchover: boolean } | { readonly reason: string };

/** The node that somebody means who names none: the one replica there is. */
async function onlyReplica(context: CommandContext): Promise<Choice> {
  const start = clientOf(context, undefined);
  const found = await findPrimary(start, (url) => clientOf(context, url)).catch((error: unknown) => {
    if (error instanceof TransportError) context.terminal.note(`${start.url} does not answer; to promote another node, name it: ${commandFor('URL')}`);
    throw error;
  });
  const { primary, answers } = found;
  // Where there is no primary, a member that is silent may be it.
  const replicas = primary === undefined ? answers.filter((status) => status.role === 'replica') : found.start.members.filter(({ nodeId }) => nodeId !== primary.status.nodeId);
  const only = replicas[0];
  if (replicas.length === 1 && only !== undefined) return { url: only.url, isSwitchover: primary !== undefined };
  if (only === undefined) return { reason: `${defaultUrl(context)} knows no replica: name the node to promote` };
  return { reason: `there are ${replicas.length} replicas, name one of them: ${replicas.map(({ name, url }) => printable(`${url} (${name})`)).join(', ')}` };
}

class PromotionRun {
  readonly #context: CommandContext;
  readonly #url: string;
  readonly #flags: PromoteFlags;
  readonly #view: PromotionView;

  constructor(context: CommandContext, url: string, flags: PromoteFlags) {
    this.#context = context;
    this.#url = url;
    this.#flags = flags;
    this.#view = flags.json === true ? new JsonView(context) : new TableView(context);
  }

  async run(): Promise<void> {
    if (this.#flags.yes === true && this.#flags.dryRun !== true) return this.#carryOut(undefined);
    const plan = await this.#askPlan();
    if (plan === undefined) return;
    if (plan.refusal !== null) return this.#refused(plan.refusal);
    if (this.#flags.dryRun === true) return this.#view.sayDryRun(plan);
    if (plan.kind !== 'none' && !(await isConfirmed(this.#context, questionOf(plan)))) {
      this.#context.terminal.note('nothing was changed');
      this.#context.exitWith('failed');
      return;
    }
    await this.#carryOut(plan);
  }

  /** Undefined where the node can't even make a plan, which has been said then. */
  async #askPlan(): Promise<PromotionPlan | undefined> {
    let plan: PromotionPlan | undefined;
    for await (const event of clientOf(this.#context, this.#url).promote(this.#request(true, undefined))) {
      if (event.type === 'refused') this.#refused(event);
      else this.#view.show(event);
      if (event.type === 'plan') plan = event.plan;
    }
    return plan;
  }

  /** `agreed` is the plan that somebody said yes to. */
  async #carryOut(agreed: PromotionPlan | undefined): Promise<void> {
    const leave = new AbortController();
    void this.#context.takeSignals().stop.then((signal) => leave.abort(new Error(`left by ${signal}`)));
    try {
      for await (const event of clientOf(this.#context, this.#url).promote(this.#request(false, agreed), leave.signal)) {
        if (event.type === 'refused') this.#refused(event);
        else this.#view.show(event, agreed);
      }
    } finally {
      this.#view.end();
    }
  }

  /** Without a question nobody has agreed to one kind: any will do. */
  #request(isDryRun: boolean, agreed: PromotionPlan | undefined): PromoteRequest {
    return { force: this.#flags.force === true, acceptLoss: this.#flags.acceptLoss ?? null, isDryRun, expectKind: agreed?.kind };
  }

  #refused(refusal: PromotionRefusal): void {
    this.#view.refuse(refusal);
    // It was refused in the middle, and what had been done by then is not certain.
    this.#context.exitWith(refusal.code === 'outcome-unknown' ? 'outcomeUnknown' : 'promotionRefused');
  }
}

interface PromotionView {
  /** `agreed`: the plan that was shown before. */
  show(event: Exclude<PromoteEvent, { type: 'refused' }>, agreed?: PromotionPlan): void;
  refuse(refusal: PromotionRefusal): void;
  sayDryRun(plan: PromotionPlan): void;
  end(): void;
}

/** A line for each event, the node's own words. */
class JsonView implements PromotionView {
  readonly #context: CommandContext;

  constructor(context: CommandContext) {
    this.#context = context;
  }

  show(event: PromoteEvent): void {
    this.#context.terminal.write(`${JSON.stringify(event)}\n`);
  }

  refuse(refusal: PromotionRefusal): void {
    this.show({ ...refusal, type: 'refused' });
  }

  sayDryRun(): void {}

  end(): void {}
}

/** Steps that each kind goes through, in this order. */
const STEPS: Readonly<Record<PromotionKind, readonly string[]>> = {
  switchover: ['stopping-writes', 'catching-up', 'opening', 'announcing'],
  failover: ['collecting-promises', 'opening', 'announcing'],
  forced: ['collecting-promises', 'opening', 'announcing'],
  none: [],
};

class TableView implements PromotionView {
  readonly #context: CommandContext;
  #bar: StepBar | undefined;
  #plan: PromotionPlan | undefined;
  #stepCount = 0;

  constructor(context: CommandContext) {
    this.#context = context;
  }

  show(event: Exclude<PromoteEvent, { type: 'refused' }>, agreed?: PromotionPlan): void {
    switch (event.type) {
      case 'plan':
        this.#plan = event.plan;
        // Shown already, unless things have changed while somebody thought it over.
        if (agreed !== undefined && isSamePlan(event.plan, agreed)) return;
        if (agreed !== undefined) this.#context.terminal.warn('things have changed since the plan was shown:');
        this.#showPlan(event.plan);
        return;
      case 'step':
        this.#showStep(event.step, event.message);
        return;
      case 'promoted':
        this.end();
        this.#showOutcome(event);
        return;
    }
  }

  refuse({ message, betterUrl, command }: PromotionRefusal): void {
    this.end();
    const { terminal } = this.#context;
    terminal.fail(`refused: ${message}`);
    if (betterUrl !== null) terminal.note(`The better node: ${printable(betterUrl)}`);
    if (command !== null) terminal.note(`What goes on: ${terminal.colors.cyan(printable(command))}`);
  }

  sayDryRun(plan: PromotionPlan): void {
    this.#context.terminal.success(plan.kind === 'none' ? 'nothing to do' : 'this would be tried; nothing was changed');
  }

  end(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  #showPlan(plan: PromotionPlan): void {
    const { terminal } = this.#context;
    terminal.note(printable(headlineOf(plan)));
    terminal.table(
      ['node', 'role', 'state', 'position', 'against the target', 'url'],
      plan.members.map((member) => [
        member.nodeId === plan.target.nodeId ? `${member.name} (target)` : member.name,
        member.role ?? '-',
        member.state ?? 'no answer',
        member.position ?? '-',
        differenceOf(member, plan),
        member.url,
      ]),
    );
    for (const warning of plan.warnings) terminal.warn(`note: ${warning}`);
  }

  #showStep(step: string, message: string): void {
    const steps = STEPS[this.#plan?.kind ?? 'none'];
    this.#stepCount += 1;
    // Which steps there are is known only roughly: a job that is finished by a second run skips some.
    const number = Math.max(this.#stepCount, steps.indexOf(step) + 1);
    this.#stepCount = number;
    this.#bar ??= this.#context.terminal.steps('promotion');
    this.#bar.show(number, Math.max(number, steps.length), message);
  }

  #showOutcome({ kind, epoch, position, url, nodeId, lost, warnings }: PromotionOutcome): void {
    const { terminal } = this.#context;
    const name = this.#plan?.members.find((member) => member.nodeId === nodeId)?.name ?? nodeId;
    for (const warning of warnings) if (this.#plan?.warnings.includes(warning) !== true) terminal.warn(`note: ${warning}`);
    if (lost !== null) {
      terminal.warn(`given up: ${lost.operations} operations, those after ${lost.afterPosition} through ${lost.throughPosition}; a node that holds them and comes back sets them aside in a salvage file`);
    } else if (kind === 'forced') {
      terminal.note('No operation is known to be given up.');
    }
    const epochText = `epoch ${epoch.number}.${epochTagOf(epoch.id)}, from ${position} on`;
    terminal.success(kind === 'none' ? `${name} (${url}) is the primary already: ${epochText}` : `${name} (${url}) is the primary now: ${epochText}`);
  }
}

function isSamePlan(one: PromotionPlan, other: PromotionPlan): boolean {
  return one.kind === other.kind && one.primary?.nodeId === other.primary?.nodeId && one.warnings.join('\n') === other.warnings.join('\n');
}

function headlineOf({ kind, target, primary }: PromotionPlan): string {
  const from = primary === null ? 'no primary is known' : `the primary is ${primary.name} (${primary.url})`;
  switch (kind) {
    case 'switchover':
      return `Switchover to ${target.name} (${target.url}): ${from} and answers. Nothing will be lost.`;
    case 'failover':
      return `Failover to ${target.name} (${target.url}): ${primary === null ? from : `${from}, which can't hand over`}.`;
    case 'forced':
      return `Forced failover to ${target.name} (${target.url}): ${from}.`;
    case 'none':
      return `${target.name} (${target.url}) is the primary already.`;
    default:
      // A kind of a later version.
      return `${String(kind)} to ${target.name} (${target.url}): ${from}.`;
  }
}

function differenceOf(member: PlannedMember, { target }: PromotionPlan): string {
  if (member.nodeId === target.nodeId || member.behindTarget === null) return '-';
  if (member.behindTarget === 0) return 'equal';
  return member.behindTarget > 0 ? `${member.behindTarget} behind` : `${-member.behindTarget} ahead`;
}

function questionOf({ kind, target, primary }: PromotionPlan): string {
  if (kind === 'switchover') return `Switch over from ${primary?.name ?? 'the primary'} to ${target.name}?`;
  return kind === 'forced' ? `Promote ${target.name} by force?` : `Promote ${target.name}?`;
}

function commandFor(url: string): string {
  return `bin/promote ${url}`;
}
