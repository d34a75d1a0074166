/**
 * How somebody who is no node talks to one: over the network, which may delay, cut or swallow either
 * direction, with patience that ends. The node's API is called in its own turn, as http/ would.
 */
import { sleep } from '../../lib/env/clock.ts';
import type { Node } from '../../lib/node/node.ts';
import type { SimulatedMachine } from './simulated-machine.ts';
import type { World } from './world.ts';

export type Outcome<Value> =
  | { readonly kind: 'answered'; readonly value: Value }
  /** An error that the node answered with. */
  | { readonly kind: 'refused'; readonly error: unknown }
  /** Certainly never seen by the node. */
  | { readonly kind: 'not-sent' }
  /** Sent, and no answer came. */
  | { readonly kind: 'no-answer' };


export class Connection {
  readonly #world: World;
  /** Address, for partitions. */
  readonly #from: string;

  constructor(world: World, from: string) {
    this.#world = world;
    this.#from = from;
  }

  /** Carries `work` out at the node of a machine, and brings back what came of it. */
  async call<Value>(machine: SimulatedMachine, work: (node: Node) => Value | Promise<Value>, patienceMs: number): Promise<Outcome<Value>> {
    const { clock, network } = this.#world;
    const state = { isSent: false };
    const patience = new AbortController();
    const late = sleep(clock, patienceMs, patience.signal).then(
      (): Outcome<Value> => (state.isSent ? { kind: 'no-answer' } : { kind: 'not-sent' }),
      () => new Promise<never>(() => {}),
    );
    const exchange = async (): Promise<Outcome<Value>> => {
      await this.#travel(this.#from, machine.url);
      if (patience.signal.aborted) return { kind: 'not-sent' };
      const { node } = machine;
      // No power: not even a refusal comes.
      if (node === undefined && network.isDark(machine.url)) return await new Promise<never>(() => {});
      if (node === undefined) return { kind: 'not-sent' };
      state.isSent = true;
      const gone = machine.ended.then(async (): Promise<Outcome<Value>> => (network.isDark(machine.url) ? await new Promise<never>(() => {}) : { kind: 'no-answer' }));
      const answered = outcomeOf(node, work).then(async (outcome): Promise<Outcome<Value>> => {
        await this.#travel(machine.url, this.#from);
        return outcome;
      });
      return await Promise.race([answered, gone]);
    };
    const outcome = await Promise.race([exchange(), late]);
    patience.abort(new Error('answered'));
    return outcome;
  }

  async #travel(from: string, to: string): Promise<void> {
    const { clock, network } = this.#world;
    await sleep(clock, network.latencyMs(from, to));
    await network.open(from, to);
  }
}

async function outcomeOf<Value>(node: Node, work: (node: Node) => Value | Promise<Value>): Promise<Outcome<Value>> {
  try {
    return { kind: 'answered', value: await work(node) };
  } catch (error) {
    return { kind: 'refused', error };
  }
}
