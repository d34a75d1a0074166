/** Chance, as the rest of the program may see it. */
export interface Random {
  bytes(count: number): Buffer;
  /** Uniform in [0, 1). */
  uniform(): number;
}

/** 128 random bits as 32 hex digits: node ids, cluster ids, epoch ids, stream ids. */
export function randomId(random: Random): string {
  return random.bytes(16).toString('hex');
}
