/** What a verification found wrong. Values are never told: they may be secrets. */
export type Finding =
  | { readonly about: 'log'; readonly path: string; readonly offset: number; readonly message: string }
  | { readonly about: 'database'; readonly message: string }
  | { readonly about: 'row'; readonly key: string; readonly message: string };

/** Where everything is wrong, the first few say as much as a million. */
const KEPT_MAX = 100;

export class FindingList {
  readonly kept: Finding[] = [];
  #count = 0;

  /** All that were found, also those not kept. */
  get count(): number {
    return this.#count;
  }

  add(finding: Finding): void {
    this.#count += 1;
    if (this.kept.length < KEPT_MAX) this.kept.push(finding);
  }
}
