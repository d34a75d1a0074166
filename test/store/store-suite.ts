/** What every store must do. Run on the real one and on its fake. */
import { expect } from 'chai';
import * as fc from 'fast-check';
import { isShiplogError } from '../../lib/base/errors.ts';
import type { KeyedRow, Store, StoredRow, TableCopy } from '../../lib/store/store.ts';
import { del, LogWriter, put, testEpoch } from '../support/log-writer.ts';
import { digestOf } from '../support/memory-store.ts';

export const TEST_CLUSTER_ID = 'c'.repeat(32);

/** A place where one store lives. */
export interface StoreFixture {
  /** Opens it, empty the first time, of cluster TEST_CLUSTER_ID. */
  open(): Promise<Store>;
  openSnapshot(path: string): Promise<Store>;
  /** A path where nothing is yet. */
  newPath(): string;
  dispose(): Promise<void>;
}

export function storeSuite(name: string, createFixture: () => Promise<StoreFixture>): void {
  describe(`${name} as a store`, () => {
    let fixture: StoreFixture;
    let store: Store;
    let log: LogWriter;

    beforeEach(async () => {
      fixture = await createFixture();
      store = await fixture.open();
      log = new LogWriter();
    });

    afterEach(async () => {
      await store.close();
      await fixture.dispose();
    });

    it('starts empty, at LSN 0, in the cluster it was created for', async () => {
      expect(store.applied).to.include({ clusterId: TEST_CLUSTER_ID, lsn: 0, chain: 0 });
      expect(store.applied.history.epochs).to.deep.equal([]);
      expect(store.get('key')).to.equal(undefined);
      expect(await store.countRows()).to.equal(0);
    });

    it('shows what was applied, with the LSN of the last write', async () => {
      await store.apply([log.beginEpoch(1), log.write(put('a', '1'), put('b', '2')), log.write(put('a', '3'))]);
      expect(store.get('a')).to.deep.equal({ value: '3', lsn: 4 });
      expect(store.get('b')).to.deep.equal({ value: '2', lsn: 3 });
      expect(store.applied).to.include({ lsn: 4, chain: log.chain });
      expect(await store.countRows()).to.equal(2);
    });

    it('carries out puts and deletes of one key in their order within a transaction', async () => {
      await store.apply([log.beginEpoch(1), log.write(put('a', '1'), del('a'), put('b', '1'), put('c', '1'), del('c'), put('c', '2'))]);
      expect(store.get('a')).to.equal(undefined);
      expect(store.get('c')).to.deep.equal({ value: '2', lsn: 7 });
      await store.apply([log.write(del('b')), log.write(del('never there'))]);
      expect(store.get('b')).to.equal(undefined);
      expect(store.applied.lsn).to.equal(9);
    });

    it('gives any text back byte for byte, as key and as value', async () => {
      const texts = ['', '\0', 'a\0b', '\0\0', '\uFEFFbom', '😀', '\u{10FFFF}', 'é', 'e\u0301', '__proto__', "'; DROP TABLE kv; --", '0', '1e3', ' 1 ', '\r\n', '\u2028'];
      const keys = texts.filter((text) => text !== '');
      await store.apply([log.beginEpoch(1), log.write(...keys.map((key) => put(key, key))), log.write(put('empty', ''))]);
      for (const key of keys) expect(store.get(key)?.value).to.equal(key);
      expect(store.get('empty')?.value).to.equal('');
      expect(await store.countRows()).to.equal(keys.length + 1);
    });

    it('takes a value of 16 MiB', async () => {
      const value = 'v€'.repeat(4 * 1024 * 1024);
      expect(Buffer.byteLength(value)).to.equal(16 * 1024 * 1024);
      await store.apply([log.beginEpoch(1), log.write(put('large', value))]);
      expect(store.get('large')?.value === value).to.equal(true);
    });

    it('refuses a batch that does not follow directly', async () => {
      await store.apply([log.beginEpoch(1)]);
      const second = log.write(put('a', '1'));
      const third = log.write(put('a', '2'));
      expect(await rejection(store.apply([third]))).to.match(/holds LSNs 3 to 3, expected 2 to 2/);
      await store.apply([second]);
      expect(await rejection(store.apply([second]))).to.match(/holds LSNs 2 to 2, expected 3 to 3/);
      expect(await rejection(store.apply([third, third]))).to.match(/holds LSNs 3 to 3, expected 4 to 4/);
      expect(store.get('a')).to.deep.equal({ value: '1', lsn: 2 });
      await store.apply([third]);
      expect(store.get('a')).to.deep.equal({ value: '2', lsn: 3 });
    });

    it('keeps the epoch history with the rows', async () => {
      await store.apply([log.beginEpoch(1), log.write(put('a', '1'))]);
      const endChain = log.chain;
      await store.apply([log.beginEpoch(3), log.write(put('a', '2'))]);
      const expected = [
        { ...testEpoch(1), firstLsn: 1, lastLsn: 2, endChain },
        { ...testEpoch(3), firstLsn: 3, lastLsn: null, endChain: null },
      ];
      expect(store.applied.history.epochs).to.deep.equal(expected);
      await store.close();
      store = await fixture.open();
      expect(store.applied.history.epochs).to.deep.equal(expected);
    });

    it('has everything after it was closed and opened again', async () => {
      await store.apply([log.beginEpoch(1), log.write(put('a', '1'), put('b', '2'))]);
      await store.close();
      store = await fixture.open();
      expect(store.applied).to.include({ clusterId: TEST_CLUSTER_ID, lsn: 3, chain: log.chain });
      expect(store.get('a')).to.deep.equal({ value: '1', lsn: 2 });
      await store.apply([log.write(put('c', '3'))]);
      expect(store.get('c')).to.deep.equal({ value: '3', lsn: 4 });
    });

    it('reports a checkpoint at the applied position', async () => {
      await store.apply([log.beginEpoch(1), log.write(put('a', '1'))]);
      expect(await store.checkpoint()).to.deep.equal({ lsn: 2, chain: log.chain });
      expect(await store.checkpoint()).to.deep.equal({ lsn: 2, chain: log.chain });
    });

    it('never reports a checkpoint beyond what was applied when it returned', async () => {
      await store.apply([log.beginEpoch(1)]);
      for (let round = 0; round < 20; round += 1) {
        const atStart = store.applied.lsn;
        const checkpoint = store.checkpoint();
        await store.apply([log.write(put(`key ${round}`, 'x'.repeat(1000)))]);
        const point = await checkpoint;
        if (point === undefined) continue;
        expect(point.lsn).to.be.within(atStart, store.applied.lsn);
      }
      expect(await store.checkpoint()).to.include({ lsn: log.lsn });
    });

    it('exports a copy that opens as a store of the same position', async () => {
      await store.apply([log.beginEpoch(1), log.write(put('a', '1'), put('b\0', '2'))]);
      const path = fixture.newPath();
      const file = await store.exportSnapshot(path);
      expect(file).to.include({ path, lsn: 3, chain: log.chain, clusterId: TEST_CLUSTER_ID });
      expect(file.epoch).to.deep.equal(testEpoch(1));
      expect(file.sha256).to.match(/^[0-9a-f]{64}$/);
      await store.apply([log.write(del('a'))]);

      const copy = await fixture.openSnapshot(path);
      try {
        expect(copy.applied).to.include({ lsn: 3, chain: file.chain, clusterId: TEST_CLUSTER_ID });
        expect(copy.applied.history.epochs).to.deep.equal(log.history.epochs);
        expect(copy.get('a')).to.deep.equal({ value: '1', lsn: 2 });
        await copy.apply([log.batches.at(-1)!]);
        expect((await copy.beginDigest().digest).sha256).to.equal((await store.beginDigest().digest).sha256);
      } finally {
        await copy.close();
      }
    });

    it('exports one position, the state folded up to it, while batches are applied', async () => {
      await store.apply([log.beginEpoch(1), log.write(...range(2000).map((index) => put(`key ${index}`, 'before')))]);
      const path = fixture.newPath();
      const progress = { exported: false };
      const exporting = store.exportSnapshot(path).finally(() => {
        progress.exported = true;
      });
      while (!progress.exported) {
        await store.apply([log.write(...range(50).map((index) => put(`key ${(index * 37 + log.lsn) % 2000}`, `at ${log.lsn}`)), del(`key ${log.lsn % 2000}`))]);
      }
      const file = await exporting;
      const copy = await fixture.openSnapshot(path);
      try {
        expect((await copy.beginDigest().digest).sha256).to.equal(digestOf(log.fold(file.lsn)).sha256);
      } finally {
        await copy.close();
      }
    });

    it('digests exactly the position at which the digest was begun', async () => {
      await store.apply([log.beginEpoch(1), log.write(...range(3000).map((index) => put(`key ${index}`, `${index}`)))]);
      const at = { lsn: store.applied.lsn, chain: store.applied.chain };
      const { begun, digest } = store.beginDigest();
      await begun;
      await store.apply([log.write(...range(3000).map((index) => put(`key ${index}`, 'after')))]);
      expect(await digest).to.deep.equal({ ...at, ...digestOf(log.fold(at.lsn)) });
    });

    it('has equal digests exactly where tables are equal', async () => {
      await store.apply([log.beginEpoch(1), log.write(put('a', 'bc'))]);
      const first = await store.beginDigest().digest;
      await store.apply([log.write(put('a', 'bc'))]);
      const rewritten = await store.beginDigest().digest;
      expect(first.rowCount).to.equal(1);
      expect(rewritten.sha256).to.not.equal(first.sha256);
      expect(digestOf(new Map([['ab', { value: 'c', lsn: 2 }]])).sha256).to.not.equal(first.sha256);
    });

    it('equals the fold of any operations, in any split into transactions', async () => {
      const key = fc.constantFrom('a', 'b', 'c', '\0', 'ä', 'é', '\u{1F600}', 'zz');
      const operation = fc.oneof(
        { weight: 3, arbitrary: fc.record({ key, value: fc.string({ unit: 'grapheme', maxLength: 20 }) }).map(({ key, value }) => put(key, value)) },
        { weight: 1, arbitrary: key.map((each) => del(each)) },
      );
      const transactions = fc.array(fc.array(fc.array(operation, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 4 }), { maxLength: 4 });
      await store.apply([log.beginEpoch(1)]);
      await fc.assert(
        fc.asyncProperty(transactions, async (generated) => {
          for (const transaction of generated) await store.apply(transaction.map((operations) => log.write(...operations)));
          const expected = log.fold();
          for (const each of ['a', 'b', 'c', '\0', 'ä', 'é', '\u{1F600}', 'zz']) {
            expect(store.get(each)).to.deep.equal(expected.get(each) satisfies StoredRow | undefined);
          }
          expect(store.applied).to.include({ lsn: log.lsn, chain: log.chain });
        }),
        { numRuns: 50 },
      );
      expect((await store.beginDigest().digest).sha256).to.equal(digestOf(log.fold()).sha256);
    });

    describe('asked for the rows after an LSN', () => {
      async function rowsAfter(lsn: number): Promise<Map<string, StoredRow>> {
        const rows = new Map<string, StoredRow>();
        for await (const { key, value, lsn: rowLsn } of store.rowsAfter(lsn)) {
          expect(rows.has(key), `${key} came twice`).to.equal(false);
          rows.set(key, { value, lsn: rowLsn });
        }
        return rows;
      }

      it('gives those whose last write is later, and no others', async () => {
        await store.apply([log.beginEpoch(1), log.write(put('old', '1'), put('again', '1'), put('gone', '1')), log.write(put('again', '2'), del('gone'), put('new\0', '😀'))]);
        expect(await rowsAfter(4)).to.deep.equal(new Map([['again', { value: '2', lsn: 5 }], ['new\0', { value: '😀', lsn: 7 }]]));
        expect(await rowsAfter(3)).to.have.keys('again', 'new\0');
        expect(await rowsAfter(0)).to.deep.equal(log.fold());
        expect(await rowsAfter(7)).to.have.lengthOf(0);
      });

      it('gives all of many, and of large ones', async () => {
        await store.apply([log.beginEpoch(1), log.write(...range(2500).map((index) => put(`key ${index}`, `${index}`))), log.write(...range(5).map((index) => put(`large ${index}`, 'x'.repeat(700_000))))]);
        const rows = await rowsAfter(1_001);
        expect(rows.size).to.equal(1505);
        expect(rows).to.deep.equal(new Map([...log.fold()].filter(([, { lsn }]) => lsn > 1_001)));
      });

      it('gives one state, whatever is applied meanwhile', async () => {
        await store.apply([log.beginEpoch(1), log.write(...range(2500).map((index) => put(`key ${index}`, 'before')))]);
        const expected = log.fold();
        const rows = new Map<string, StoredRow>();
        for await (const { key, value, lsn } of store.rowsAfter(0)) {
          if (rows.size === 0) await store.apply([log.write(...range(2500).map((index) => (index % 2 === 0 ? del(`key ${index}`) : put(`key ${index}`, 'after'))), put('late', '1'))]);
          rows.set(key, { value, lsn });
        }
        expect(rows).to.deep.equal(expected);
        expect(await rowsAfter(2501)).to.have.lengthOf(1251);
      });

      it('lets checkpoints reach the end again after somebody left early', async () => {
        await store.apply([log.beginEpoch(1), log.write(...range(2500).map((index) => put(`key ${index}`, 'x')))]);
        for await (const { lsn } of store.rowsAfter(0)) {
          expect(lsn).to.be.greaterThan(0);
          break;
        }
        await store.apply([log.write(put('a', '1'))]);
        expect(await store.checkpoint()).to.include({ lsn: log.lsn });
      });

      it('says that the store is closed', async () => {
        await store.close();
        expect(await rejection(rowsAfter(0))).to.match(/the store is closed/);
      });
    });

    describe('asked for a copy', () => {
      async function rowsOf(copy: TableCopy, prefix = ''): Promise<KeyedRow[]> {
        const rows: KeyedRow[] = [];
        for await (const row of copy.rows(prefix)) rows.push(row);
        return rows;
      }

      it('gives all rows of one position in the order of the bytes of their keys, whatever is applied meanwhile', async () => {
        const keys = [...range(2500).map((index) => `key ${index}`), 'é', 'z', '\0', '\uFFFD', '\u{1F600}', 'large'];
        await store.apply([log.beginEpoch(1), log.write(...keys.map((key) => put(key, key === 'large' ? 'x'.repeat(3_000_000) : `of ${key}`)))]);
        const expected = log.fold();
        const copy = await store.copyTable(fixture.newPath());
        expect([copy.lsn, copy.chain, copy.rowCount, copy.clusterId]).to.deep.equal([log.lsn, log.chain, keys.length, TEST_CLUSTER_ID]);
        expect(copy.history.epochs).to.deep.equal(store.applied.history.epochs);
        await store.apply([log.write(...keys.map((key) => del(key)), put('late', '1'))]);
        const rows = await rowsOf(copy);
        expect(new Map(rows.map(({ key, value, lsn }) => [key, { value, lsn }]))).to.deep.equal(expected);
        const inOrder = keys.map((key) => Buffer.from(key)).toSorted((one, other) => Buffer.compare(one, other)).map(String);
        expect(rows.map(({ key }) => key)).to.deep.equal(inOrder);
        // Nobody waits for who reads the copy.
        expect(await store.checkpoint()).to.include({ lsn: log.lsn });
        await copy.close();
      });

      it('gives those with a prefix', async () => {
        await store.apply([log.beginEpoch(1), log.write(...['a', 'a/', 'a/1', 'a/\u{10FFFF}', 'a/é', 'a0', 'A/1', '%'].map((key) => put(key, '1')))]);
        const copy = await store.copyTable(fixture.newPath());
        expect((await rowsOf(copy, 'a/')).map(({ key }) => key)).to.deep.equal(['a/', 'a/1', 'a/é', 'a/\u{10FFFF}']);
        expect((await rowsOf(copy, '%')).map(({ key }) => key)).to.deep.equal(['%']);
        expect(await rowsOf(copy, 'b')).to.deep.equal([]);
        await copy.close();
      });

      it('ends with the store', async () => {
        await store.apply([log.beginEpoch(1), log.write(put('a', '1'))]);
        const copy = await store.copyTable(fixture.newPath());
        await store.close();
        expect(await rejection(rowsOf(copy))).to.match(/the store is closed/);
        await copy.close();
        expect(await rejection(store.copyTable(fixture.newPath()))).to.match(/the store is closed/);
      });
    });

    it('can be closed twice and says so to those who call it after', async () => {
      await Promise.all([store.close(), store.close()]);
      await store.close();
      const error = await store.apply([log.beginEpoch(1)]).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(isShiplogError(error, 'store-failed')).to.equal(true);
    });
  });
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

export async function rejection(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return (error as Error).message;
  }
  return 'it did not reject';
}
