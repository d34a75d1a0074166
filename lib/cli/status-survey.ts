/**
 * Asks the nodes of a cluster for their status, once or again and again. A node that does not answer
 * keeps its place, with the name that the others know it by.
 */
import { messageOf } from '../base/errors.ts';
import type { StatusDocument } from '../client/status-document.ts';
import type { ShiplogClient } from '../client/shiplog-client.ts';

export interface NodeAnswer {
  readonly url: string;
  readonly status: StatusDocument | null;
  /** Why there is no status. */
  readonly error?: string;
}

export interface StatusSurveyOptions {
  readonly clientAt: (url: string) => ShiplogClient;
  /** Asked always. */
  readonly urls: readonly string[];
  /** Ask also the members that these know. */
  readonly followsMembers: boolean;
}

/** A cluster has few members; a node that tells of more is not believed. */
const NODES_MAX = 1_000;

export class StatusSurvey {
  readonly #options: StatusSurveyOptions;
  /** URLs of members that no URL of the options leads to, as of the last round that had an answer. */
  #memberUrls: readonly string[] = [];

  constructor(options: StatusSurveyOptions) {
    this.#options = options;
  }

  async ask(): Promise<readonly NodeAnswer[]> {
    const { urls, followsMembers } = this.#options;
    const first = await this.#askAll([...urls, ...this.#memberUrls]);
    if (!followsMembers) return first;
    const wanted = this.#membersOf(first);
    if (wanted === undefined) return first;
    this.#memberUrls = wanted;
    const keep = new Set([...urls, ...wanted]);
    const kept = first.filter((answer) => keep.has(answer.url));
    const missing = wanted.filter((url) => first.every((answer) => answer.url !== url));
    return [...kept, ...(await this.#askAll(missing))];
  }

  /** The members known to the answers, without those that were asked under another URL. Undefined where nobody answered. */
  #membersOf(answers: readonly NodeAnswer[]): readonly string[] | undefined {
    const { urls } = this.#options;
    const said = answers.flatMap(({ status }) => (status === null ? [] : [status]));
    if (said.length === 0) return undefined;
    // An answer under one of the given URLs may know itself by another one.
    const named = answers.flatMap(({ url, status }) => (status === null || !urls.includes(url) ? [] : [status]));
    const isShown = ({ nodeId, url }: { readonly nodeId: string; readonly url: string }): boolean =>
      urls.includes(url) || named.some((status) => status.nodeId === nodeId || status.url === url);
    // A machine that was replaced is two members at one URL.
    return [...new Set(said.flatMap((status) => status.members.filter((member) => !isShown(member)).map((member) => member.url)))].slice(0, NODES_MAX);
  }

  #askAll(urls: readonly string[]): Promise<readonly NodeAnswer[]> {
    return Promise.all(
      urls.map(async (url) => {
        try {
          return { url, status: await this.#options.clientAt(url).status() };
        } catch (error) {
          return { url, status: null, error: messageOf(error) };
        }
      }),
    );
  }
}
