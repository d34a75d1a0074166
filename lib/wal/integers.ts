/** u64 fields whose values stay below 2^53, so that they are ordinary numbers here. */
const HIGH = 0x1_0000_0000;

export function writeU64(target: Buffer, value: number, offset: number): void {
  target.writeUInt32LE(value % HIGH, offset);
  target.writeUInt32LE(Math.floor(value / HIGH), offset + 4);
}

/** Returns NaN for a value that no version of this program writes. */
export function readU64(source: Buffer, offset: number): number {
  const high = source.readUInt32LE(offset + 4);
  if (high > 0x1f_ffff) return Number.NaN;
  return high * HIGH + source.readUInt32LE(offset);
}

export function isZero(source: Buffer, start: number, end: number): boolean {
  for (let index = start; index < end; index += 1) if (source[index] !== 0) return false;
  return true;
}
