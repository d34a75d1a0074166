/**
 * Ids are drawn from the seed, and checksums follow from them. In a transcript they have names, counted in
 * the order in which they are first seen: `2.e3-14` is LSN 14 in the third epoch, whose number is 2.
 */
export class SeededNames {
  readonly #nameOf = new Map<string, string>();
  readonly #tagOf = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  epoch(epochTag: string): string {
    const name = this.#name(epochTag, 'e');
    this.#tagOf.set(name, epochTag);
    return name;
  }

  #name(text: string, letter: string): string {
    let name = this.#nameOf.get(text);
    if (name === undefined) {
      const count = (this.#counts.get(letter) ?? 0) + 1;
      this.#counts.set(letter, count);
      name = `${letter}${count}`;
      this.#nameOf.set(text, name);
    }
    return name;
  }

  /** Text of the product, for readers. URLs are just the machine's name: `a (http://a)` is a. */
  toTranscript(text: string): string {
    return text
      .replace(/\b(\w+) \(http:\/\/\1\)/g, '$1')
      .replaceAll('http://', '')
      .replace(/\b0\.0000-0\b/g, 'nothing')
      .replace(/\b(\d+)\.([0-9a-f]{4})-(\d+)\b/g, (_, number: string, tag: string, lsn: string) => `${number}.${this.epoch(tag)}-${lsn}`)
      .replace(/\b[0-9a-f]{32}\b/g, (id) => this.#name(id, 'id'))
      .replace(/\b[0-9a-f]{8}\b/g, (chain) => this.#name(chain, 'chain'));
  }

  /** A position in a command, for the product. */
  fromTranscript(text: string): string {
    return text.replace(/\b(\d+)\.(e\d+)-(\d+)\b/g, (_, number: string, name: string, lsn: string) => {
      const tag = this.#tagOf.get(name);
      if (tag === undefined) throw new Error(`no epoch was called ${name} yet`);
      return `${number}.${tag}-${lsn}`;
    });
  }
}
