/**
 * Node keeps a signal made by `AbortSignal.any` alive for as long as somebody listens to it. A process
 * that has crashed in a simulation never takes its listeners away, so whole clusters would stay in memory
 * for ever. This notes the listeners of one run, and takes them away when it is over.
 */
export class AbandonedSignals {
  readonly #original = AbortSignal.any;
  #listeners: (() => void)[] = [];

  constructor() {
    const listeners = (): (() => void)[] => this.#listeners;
    const original = this.#original;
    AbortSignal.any = (signals: AbortSignal[]): AbortSignal => {
      const signal = original.call(AbortSignal, signals);
      const add = signal.addEventListener.bind(signal) as (...parameters: unknown[]) => void;
      signal.addEventListener = (...parameters: unknown[]): void => {
        add(...parameters);
        const [type, listener] = parameters as [string, () => void];
        listeners().push(() => signal.removeEventListener(type, listener));
      };
      return signal;
    };
  }

  release(): void {
    AbortSignal.any = this.#original;
    for (const remove of this.#listeners.splice(0)) remove();
  }
}
