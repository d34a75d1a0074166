/** What a Host header, an Origin or the authority of a URL names. */
export interface HostName {
  /** In lower case; IPv6 addresses in brackets. */
  readonly name: string;
  readonly port: string | undefined;
}

/** Undefined for anything but `name` or `name:port`. */
export function parseHostName(text: string): HostName | undefined {
  const match = /^(\[[0-9a-f:.]+\]|[\w.~-]+)(?::(\d{0,5}))?$/i.exec(text);
  return match === null ? undefined : { name: match[1]!.toLowerCase(), port: match[2] === '' ? undefined : match[2] };
}
