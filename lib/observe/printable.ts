/**
 * Characters that would let a key or a peer's words forge a log line or steer a terminal: C0 and C1
 * controls (newline, ESC, the one-character CSI), DEL, the Unicode line separators, marks that turn the
 * direction of text, and the byte order mark.
 */
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g;

/** Each such character becomes `\uXXXX`, which is also what JSON calls it. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
