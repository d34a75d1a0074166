/** What goes wrong with messages of one kind between two machines, until it is healed. */
import type { ExchangeInfo, Fault } from '../support/memory-transport.ts';

/** By the words of a transcript: what nodes ask each other for. */
const MESSAGES: Readonly<Record<string, string>> = {
  log: '/wal',
  snapshot: '/snapshot',
  confirmations: '/peer/confirm',
  state: '/peer/state',
  promise: '/peer/promise',
  withdrawal: '/peer/withdraw',
  handover: '/peer/handover',
};

const FAULTS: Readonly<Record<string, Fault>> = {
  /** The request does not leave. */
  lose: { refuse: true },
  /** The request is carried out, the answer never comes. */
  'lose the answer to': { loseAnswer: true },
  /** The answer begins, and then nothing more comes. */
  hold: { responseBody: { stallAfterBytes: 40 } },
  /** A bit of the answer flips. */
  damage: { responseBody: { flipByte: 300 } },
  /** Every piece of the answer arrives twice. */
  double: { responseBody: { repeats: true } },
};

interface Rule {
  readonly fault: Fault;
  readonly path: string;
  readonly askingUrl: string;
  readonly askedUrl: string;
  /** Only the next message. */
  readonly isOnce: boolean;
}

export const FAULT_WORDS = Object.keys(FAULTS);
export const MESSAGE_WORDS = Object.keys(MESSAGES);

export class LinkFaults {
  #rules: Rule[] = [];

  add(what: string, message: string, rule: Pick<Rule, 'askingUrl' | 'askedUrl' | 'isOnce'>): void {
    this.#rules.push({ ...rule, fault: FAULTS[what]!, path: MESSAGES[message]! });
  }

  clear(): void {
    this.#rules = [];
  }

  faultOf({ from, to, target }: ExchangeInfo): Fault | undefined {
    const rule = this.#rules.find((each) => each.askingUrl === from && each.askedUrl === to && target.split('?')[0] === each.path);
    if (rule?.isOnce === true) this.#rules.splice(this.#rules.indexOf(rule), 1);
    return rule?.fault;
  }
}
