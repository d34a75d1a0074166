/** A node of a few lines at the other end of a raw connection, in a time that only passes when told to. */
import type { RawConnect, RawHandlers } from '../../lib/env/raw-connection.ts';
import type { FakeClock } from '../support/fake-clock.ts';

export interface FakeRawNode {
  readonly connect: RawConnect;
  /** Request lines, in the order in which they came. */
  readonly requests: string[];
  /** From here on connections are refused. */
  isGone: boolean;
  /** Cuts all connections. */
  cut(): void;
}

export interface FakeRawNodeOptions {
  readonly status?: () => number;
  /** When the answer that would come `atMs` does come; undefined = never. */
  readonly answerAtMs?: (atMs: number) => number | undefined;
}

const SERVICE_MS = 1;

/** Each connection answers one request after the other, each after a millisecond. */
export function fakeRawNode(clock: FakeClock, { status = () => 200, answerAtMs = (atMs) => atMs }: FakeRawNodeOptions = {}): FakeRawNode {
  const requests: string[] = [];
  const open = new Set<RawHandlers>();
  const node: FakeRawNode = {
    requests,
    isGone: false,
    connect: async (_url, handlers) => {
      if (node.isGone) throw new Error('connect ECONNREFUSED');
      open.add(handlers);
      let freeAtMs = 0;
      return {
        write: (buffers) => {
          for (const line of Buffer.concat(buffers).toString('latin1').matchAll(/(?:GET|POST|DELETE) \S+ HTTP\/1\.1/g)) {
            requests.push(line[0].split(' HTTP')[0]!);
            const atMs = answerAtMs(Math.max(clock.monotonicMs(), freeAtMs) + SERVICE_MS);
            if (atMs === undefined) continue;
            freeAtMs = atMs;
            clock.setTimer(atMs - clock.monotonicMs(), () => {
              if (open.has(handlers)) handlers.onBytes(Buffer.from(`HTTP/1.1 ${status()} X\r\nContent-Length: 2\r\n\r\nOK`));
            });
          }
        },
        close: () => open.delete(handlers),
      };
    },
    cut: () => {
      const cutOff = [...open];
      open.clear();
      for (const handlers of cutOff) handlers.onLost(new Error('read ECONNRESET'));
    },
  };
  return node;
}
