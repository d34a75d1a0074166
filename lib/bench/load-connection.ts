/**
 * One connection of a load, with as many requests on their way as the pipeline allows. Answers come
 * in the order of requests, so a ring of places is all that has to be remembered; each place has its
 * own copy of the request, which is free to be changed once its answer is here.
 */
import type { RawConnect, RawConnection } from '../env/raw-connection.ts';
import { type AnswerParser, type Protocol, type RequestKind, type RequestTemplate, setKey } from './protocol.ts';

export interface LoadConnectionOptions {
  readonly connect: RawConnect;
  readonly url: string;
  readonly protocol: Protocol;
  readonly templates: ReadonlyMap<RequestKind, RequestTemplate>;
  readonly pipeline: number;
  /** Told for each answer, with what `start` was given. */
  readonly onAnswer: (connection: LoadConnection, kind: RequestKind, sinceMs: number, status: number) => void;
  /** Told once after all answers of one read. */
  readonly onRead: (connection: LoadConnection) => void;
  /** Nothing on its way is answered any more. */
  readonly onLost: (connection: LoadConnection, unanswered: readonly UnansweredRequest[], error: Error) => void;
}

export interface UnansweredRequest {
  readonly kind: RequestKind;
  readonly sinceMs: number;
}

interface Place {
  kind: RequestKind;
  sinceMs: number;
  readonly requests: Map<RequestKind, Buffer>;
}

export class LoadConnection {
  readonly #options: LoadConnectionOptions;
  readonly #places: readonly Place[];
  readonly #parser: AnswerParser;
  #raw: RawConnection | undefined;
  #first = 0;
  #count = 0;
  /** Started, but not handed to the socket yet. */
  #outgoing: Buffer[] = [];

  constructor(options: LoadConnectionOptions) {
    this.#options = options;
    this.#places = Array.from({ length: options.pipeline }, () => ({ kind: 'get', sinceMs: 0, requests: new Map() }));
    this.#parser = options.protocol.parser((status) => this.#takeAnswer(status));
  }

  /** @throws TransportError where there is no connection. */
  async open(): Promise<void> {
    const { connect, url } = this.#options;
    this.#raw = await connect(url, { onBytes: (bytes) => this.#takeBytes(bytes), onLost: (error) => this.#lose(error) });
  }

  get freeCount(): number {
    return this.#raw === undefined ? 0 : this.#places.length - this.#count;
  }

  /** Makes a request; it leaves with `flush`. There must be a free place. */
  start(kind: RequestKind, key: number, sinceMs: number): void {
    const place = this.#places[(this.#first + this.#count) % this.#places.length]!;
    const { digitsAt, tail } = this.#options.templates.get(kind)!;
    place.kind = kind;
    place.sinceMs = sinceMs;
    this.#count += 1;
    const request = this.#requestIn(place, kind);
    setKey(request, digitsAt, key);
    this.#outgoing.push(request);
    if (tail !== undefined) this.#outgoing.push(tail);
  }

  flush(): void {
    if (this.#outgoing.length === 0) return;
    const outgoing = this.#outgoing;
    this.#outgoing = [];
    this.#raw!.write(outgoing);
  }

  /** @returns what was never answered. */
  close(): readonly UnansweredRequest[] {
    this.#raw?.close();
    this.#raw = undefined;
    const unanswered = Array.from({ length: this.#count }, (_, index) => this.#places[(this.#first + index) % this.#places.length]!);
    this.#count = 0;
    this.#outgoing = [];
    return unanswered.map(({ kind, sinceMs }) => ({ kind, sinceMs }));
  }

  #requestIn({ requests }: Place, kind: RequestKind): Buffer {
    let request = requests.get(kind);
    if (request === undefined) {
      request = Buffer.from(this.#options.templates.get(kind)!.bytes);
      requests.set(kind, request);
    }
    return request;
  }

  #takeBytes(bytes: Buffer): void {
    try {
      this.#parser.push(bytes);
    } catch (error) {
      this.#lose(error as Error);
      return;
    }
    if (this.#raw !== undefined) this.#options.onRead(this);
  }

  #takeAnswer(status: number): void {
    if (this.#count === 0) throw new Error('an answer to no request');
    const { kind, sinceMs } = this.#places[this.#first]!;
    this.#first = (this.#first + 1) % this.#places.length;
    this.#count -= 1;
    this.#options.onAnswer(this, kind, sinceMs, status);
  }

  #lose(error: Error): void {
    this.#options.onLost(this, this.close(), error);
  }
}
