/** Answers "what was the largest LSN among all that had ended before this event?" in O(log n). */

export interface EndedItem<Item> {
  readonly endedAt: number;
  readonly lsn: number;
  readonly item: Item;
}

export class LatestEnded<Item> {
  /** By `endedAt`; each holds the item with the largest LSN up to there. */
  readonly #prefix: { readonly endedAt: number; readonly largest: EndedItem<Item> }[] = [];

  /** Items come in the order of their ends. */
  add(item: EndedItem<Item>): void {
    const before = this.#prefix.at(-1)?.largest;
    this.#prefix.push({ endedAt: item.endedAt, largest: before === undefined || item.lsn > before.lsn ? item : before });
  }

  before(event: number): EndedItem<Item> | undefined {
    let low = 0;
    let high = this.#prefix.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#prefix[middle]!.endedAt < event) low = middle + 1;
      else high = middle;
    }
    return this.#prefix[low - 1]?.largest;
  }
}
