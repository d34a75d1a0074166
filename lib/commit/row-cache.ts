/**
 * Rows that were read lately, as bytes in one block of memory: a hot key costs no read of the store, and
 * a million of them nothing for the garbage collector to look at.
 *
 *   ring    entry ▸ entry ▸ … ▸ head ▸ (free) ▸ tail ▸ entry ▸ … ▸ lapEnd
 *   entry   hash u32 | key bytes u16 | value bytes u16 | LSN u32 low, u32 high | key | value | to a multiple of 4
 *   index   buckets of 8 slots: hash u32 | 1 + (place of the entry) / 4, 0 = free
 *
 * New rows are written at the head and take the place of the oldest. A row that is read when its turn is
 * near is written anew, so what is read once in a while stays. A bucket that is full forgets one row: it
 * is only a cache. Keys with characters beyond ASCII are not kept: then a character is a byte, and whoever
 * has the bytes of a request finds the row without making a string of them.
 */
import { KIB } from '../base/limits.ts';
import type { StoredRow } from '../store/store.ts';

const ENTRY_HEADER_BYTES = 16;
/** Words of it. */
const HASH = 0;
const SIZES = 1;
const LSN_LOW = 2;
const LSN_HIGH = 3;

const SIZE_BITS = 16;
const SIZE_FACTOR = 2 ** SIZE_BITS;
const SIZE_MASK = SIZE_FACTOR - 1;

const BUCKET_SLOTS = 8;
const SLOT_WORDS = 2;
const BUCKET_WORDS = SLOT_WORDS * BUCKET_SLOTS;
const BUCKET_BYTES = 4 * BUCKET_WORDS;
/** The index grows with the rows: one that is no larger than it has to be stays in the caches of the processor. */
const BUCKETS_AT_FIRST = 1024;
const USED_SLOTS_MAX = 5 / 8;
/** At most; at least half of that. An entry has 20 bytes and more, mostly about 70, and a slot has 8. */
const INDEX_SHARE = 1 / 4;
/** Larger rows cost so much to send that reading them doesn't matter. A size has 16 bits. */
const ENTRY_BYTES_MAX = 64 * KIB;

export class RowCache {
  /** Keys and values stand here. A place is valid until the next call that finds, keeps or drops. */
  readonly bytes: Buffer;
  readonly #words: Uint32Array;
  #slots: Uint32Array;
  #bucketMask: number;
  readonly #bucketsMax: number;
  #usedSlots = 0;
  readonly #entryBytesMax: number;
  /** Where the next entry goes. */
  #head = 0;
  /** The oldest entry of the last lap; all before it and behind the head is free. */
  #tail = 0;
  /** Where the last lap ended. */
  #lapEnd = 0;

  /** @param bytesMax memory in all; it is taken as it is needed. Too little for a bucket and a row = keeps nothing. */
  constructor(bytesMax: number) {
    const buckets = bytesMax < 1 * KIB ? 0 : 2 ** Math.floor(Math.log2((bytesMax * INDEX_SHARE) / BUCKET_BYTES));
    const ringBytes = buckets === 0 ? 0 : Math.floor((bytesMax - buckets * BUCKET_BYTES) / 4) * 4;
    const ring = new ArrayBuffer(ringBytes);
    this.bytes = Buffer.from(ring);
    this.#words = new Uint32Array(ring);
    this.#bucketsMax = buckets;
    const firstBuckets = Math.min(buckets, BUCKETS_AT_FIRST);
    this.#slots = new Uint32Array(firstBuckets * BUCKET_WORDS);
    this.#bucketMask = firstBuckets - 1;
    this.#entryBytesMax = Math.min(ENTRY_BYTES_MAX, ringBytes / 4);
  }

  get(key: string): StoredRow | undefined {
    const found = this.#placeOf(key);
    if (found === undefined) return undefined;
    const place = this.#used(found);
    return { value: this.bytes.toString('utf8', this.valueStartAt(place), this.valueEndAt(place)), lsn: this.lsnAt(place) };
  }

  /** @returns the place of the row whose key is `source[start, end)`. */
  find(source: Uint8Array, start: number, end: number): number | undefined {
    if (this.#slots.length === 0) return undefined;
    let hash = HASH_SEED;
    for (let index = start; index < end; index += 1) hash = Math.imul(hash ^ source[index]!, HASH_FACTOR);
    hash = finished(hash);
    const { bytes } = this;
    const words = this.#words;
    for (let slot = this.#bucketOf(hash), left = BUCKET_SLOTS; left > 0; slot += SLOT_WORDS, left -= 1) {
      const place = this.#placeIn(slot, hash);
      if (place === undefined || (words[place / 4 + SIZES]! & SIZE_MASK) !== end - start) continue;
      let at = place + ENTRY_HEADER_BYTES;
      let index = start;
      while (index < end && bytes[at] === source[index]) {
        at += 1;
        index += 1;
      }
      if (index === end) return this.#used(place);
    }
    return undefined;
  }

  lsnAt(place: number): number {
    const word = place / 4;
    return this.#words[word + LSN_HIGH]! * 2 ** 32 + this.#words[word + LSN_LOW]!;
  }

  valueStartAt(place: number): number {
    return place + ENTRY_HEADER_BYTES + this.#keyBytesAt(place);
  }

  valueEndAt(place: number): number {
    return this.valueStartAt(place) + this.#valueBytesAt(place);
  }

  #keyBytesAt(place: number): number {
    return this.#words[place / 4 + SIZES]! & SIZE_MASK;
  }

  #valueBytesAt(place: number): number {
    return this.#words[place / 4 + SIZES]! >>> SIZE_BITS;
  }

  #entrySizeAt(place: number): number {
    return entrySize(this.#keyBytesAt(place), this.#valueBytesAt(place));
  }

  keep(key: string, row: StoredRow): void {
    this.drop(key);
    const hash = hashOf(key);
    const valueBytes = Buffer.byteLength(row.value);
    const size = entrySize(key.length, valueBytes);
    if (hash === undefined || size > this.#entryBytesMax) return;
    const place = this.#makeRoom(size);
    const word = place / 4;
    this.#words[word + HASH] = hash;
    this.#words[word + SIZES] = valueBytes * SIZE_FACTOR + key.length;
    this.#setLsn(place, row.lsn);
    this.bytes.write(key, place + ENTRY_HEADER_BYTES, 'latin1');
    this.bytes.write(row.value, place + ENTRY_HEADER_BYTES + key.length, 'utf8');
    this.#setSlot(hash, place);
  }

  /** The row has changed: where it is here, it stays here as it is now. */
  renew(key: string, row: StoredRow): void {
    const place = this.#placeOf(key);
    if (place === undefined) return;
    const valueBytes = Buffer.byteLength(row.value);
    if (valueBytes !== this.valueEndAt(place) - this.valueStartAt(place)) {
      this.keep(key, row);
      return;
    }
    this.#setLsn(place, row.lsn);
    this.bytes.write(row.value, this.valueStartAt(place), 'utf8');
  }

  /** The row is gone: whoever asks next has to look. */
  drop(key: string): void {
    const place = this.#placeOf(key);
    if (place !== undefined) this.#clearSlot(place);
  }

  #setLsn(place: number, lsn: number): void {
    const word = place / 4;
    this.#words[word + LSN_LOW] = lsn >>> 0;
    this.#words[word + LSN_HIGH] = Math.floor(lsn / 2 ** 32);
  }

  #placeOf(key: string): number | undefined {
    if (this.#slots.length === 0) return undefined;
    const hash = hashOf(key);
    if (hash === undefined) return undefined;
    for (let slot = this.#bucketOf(hash), left = BUCKET_SLOTS; left > 0; slot += SLOT_WORDS, left -= 1) {
      const place = this.#placeIn(slot, hash);
      if (place === undefined || this.#keyBytesAt(place) !== key.length) continue;
      const at = place + ENTRY_HEADER_BYTES;
      let index = 0;
      while (index < key.length && this.bytes[at + index] === key.charCodeAt(index)) index += 1;
      if (index === key.length) return place;
    }
    return undefined;
  }

  #bucketOf(hash: number): number {
    return (hash & this.#bucketMask) * BUCKET_WORDS;
  }

  /** Of a slot that holds this hash. */
  #placeIn(slot: number, hash: number): number | undefined {
    if (this.#slots[slot] !== hash) return undefined;
    const reference = this.#slots[slot + 1]!;
    return reference === 0 ? undefined : (reference - 1) * 4;
  }

  #setSlot(hash: number, place: number): void {
    if (this.#usedSlots > USED_SLOTS_MAX * BUCKET_SLOTS * (this.#bucketMask + 1)) this.#growIndex();
    const bucket = this.#bucketOf(hash);
    // Of a full bucket any will do.
    let slot = bucket + ((hash >>> 29) & (BUCKET_SLOTS - 1)) * SLOT_WORDS;
    for (let index = 0; index < BUCKET_SLOTS; index += 1) {
      if (this.#slots[bucket + index * SLOT_WORDS + 1] !== 0) continue;
      slot = bucket + index * SLOT_WORDS;
      this.#usedSlots += 1;
      break;
    }
    this.#slots[slot] = hash;
    this.#slots[slot + 1] = place / 4 + 1;
  }

  #growIndex(): void {
    if (this.#bucketMask + 1 === this.#bucketsMax) return;
    const before = this.#slots;
    this.#slots = new Uint32Array(2 * before.length);
    this.#bucketMask = 2 * this.#bucketMask + 1;
    this.#usedSlots = 0;
    for (let slot = 0; slot < before.length; slot += SLOT_WORDS) {
      if (before[slot + 1] !== 0) this.#setSlot(before[slot]!, (before[slot + 1]! - 1) * 4);
    }
  }

  /** An entry without a slot is not found any more; its bytes are used again when their turn comes. */
  #clearSlot(place: number): void {
    const bucket = this.#bucketOf(this.#words[place / 4 + HASH]!);
    for (let index = 0; index < BUCKET_SLOTS; index += 1) {
      const slot = bucket + index * SLOT_WORDS;
      if (this.#slots[slot + 1] !== place / 4 + 1) continue;
      this.#slots[slot + 1] = 0;
      this.#usedSlots -= 1;
    }
  }

  /** A row that would soon be overwritten is written at the head again. @returns its place now. */
  #used(place: number): number {
    const ahead = place >= this.#head ? place - this.#head : place - this.#head + this.bytes.length;
    if (ahead >= this.bytes.length / 4) return place;
    const word = place / 4;
    const hash = this.#words[word + HASH]!;
    const size = this.#entrySizeAt(place);
    this.#clearSlot(place);
    // Room may be made of its own bytes, but nothing is written yet: they are still there.
    const newPlace = this.#makeRoom(size);
    this.bytes.copyWithin(newPlace, place, place + size);
    this.#setSlot(hash, newPlace);
    return newPlace;
  }

  /** @returns where the next `size` bytes are free; the head is behind them. */
  #makeRoom(size: number): number {
    if (this.#head + size > this.bytes.length) {
      // An entry is never split.
      this.#forgetBefore(this.#lapEnd);
      this.#lapEnd = this.#head;
      this.#head = 0;
      this.#tail = 0;
    }
    const place = this.#head;
    this.#head += size;
    this.#forgetBefore(Math.min(this.#head, this.#lapEnd));
    return place;
  }

  /** Of the last lap. */
  #forgetBefore(end: number): void {
    while (this.#tail < end) {
      const size = this.#entrySizeAt(this.#tail);
      this.#clearSlot(this.#tail);
      this.#tail += size;
    }
  }
}

function entrySize(keyBytes: number, valueBytes: number): number {
  return (ENTRY_HEADER_BYTES + keyBytes + valueBytes + 3) & ~3;
}

// FNV-1a. Whoever chooses keys that collide gets no more than a cold cache.
const HASH_SEED = 0x811c9dc5;
const HASH_FACTOR = 0x01000193;

/** Undefined with a character that is more than a byte. */
function hashOf(key: string): number | undefined {
  let hash = HASH_SEED;
  for (let index = 0; index < key.length; index += 1) {
    const code = key.charCodeAt(index);
    if (code > 0x7f) return undefined;
    hash = Math.imul(hash ^ code, HASH_FACTOR);
  }
  return finished(hash);
}

/** The low bits choose the bucket: let the high ones have a say. */
function finished(hash: number): number {
  return (hash ^ (hash >>> 15)) >>> 0;
}
