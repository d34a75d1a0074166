/**
 * Ids of epochs are drawn from the seed; in a transcript they are called e1, e2, e3 in the order in
 * which they are first seen: `2.e3-14` is LSN 14 in the third epoch, whose number is 2.
 */
export class EpochNames {
  readonly #nameOf = new Map<string, string>();
  readonly #tagOf = new Map<string, string>();

  nameOf(epochTag: string): string {
    let name = this.#nameOf.get(epochTag);
    if (name === undefined) {
      name = `e${this.#nameOf.size + 1}`;
      this.#nameOf.set(epochTag, name);
      this.#tagOf.set(name, epochTag);
    }
    return name;
  }

  /** Text of the product, for readers. URLs are just the machine's name: `a (http://a)` is a. */
  toTranscript(text: string): string {
    return text
      .replace(/\b(\w+) \(http:\/\/\1\)/g, '$1')
      .replaceAll('http://', '')
      .replace(/\b0\.0000-0\b/g, 'nothing')
      .replace(/\b(\d+)\.([0-9a-f]{4})-(\d+)\b/g, (_, number: string, tag: string, lsn: string) => `${number}.${this.nameOf(tag)}-${lsn}`);
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
