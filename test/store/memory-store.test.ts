import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { RealClock } from '../../lib/env/real-clock.ts';
import { RealDisk } from '../../lib/env/real-disk.ts';
import { LogWriter, put } from '../support/log-writer.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { storeSuite, TEST_CLUSTER_ID } from './store-suite.ts';

const environment = { disk: new RealDisk(), clock: new RealClock() };

storeSuite('MemoryStore', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'shiplog-memory-store-'));
  let paths = 0;
  let store: MemoryStore | undefined;
  return {
    open: async () => {
      store = store === undefined ? MemoryStore.create({ ...environment, clusterId: TEST_CLUSTER_ID }) : store.crash(store.transactionsAtRisk);
      return store;
    },
    openSnapshot: (path) => MemoryStore.fromSnapshot(environment, path),
    newPath: () => join(directory, `snapshot-${(paths += 1)}`),
    dispose: () => rm(directory, { recursive: true }),
  };
});

describe('a crash of MemoryStore', () => {
  it('leaves any prefix of transactions back to the last checkpoint, and nothing older', async () => {
    for (const kept of [0, 1, 2]) {
      const log = new LogWriter();
      const store = MemoryStore.create({ ...environment, clusterId: TEST_CLUSTER_ID });
      await store.apply([log.beginEpoch(1), log.write(put('a', '1'))]);
      await store.checkpoint();
      await store.apply([log.write(put('a', '2'))]);
      await store.apply([log.write(put('a', '3'))]);
      expect(store.transactionsAtRisk).to.equal(2);
      const found = store.crash(kept);
      expect(found.get('a')).to.deep.equal({ value: `${kept + 1}`, lsn: kept + 2 });
      expect(found.applied.lsn).to.equal(kept + 2);
    }
  });

  it('covers with a checkpoint only what was applied when it began', async () => {
    const log = new LogWriter();
    const store = MemoryStore.create({ ...environment, clusterId: TEST_CLUSTER_ID });
    await store.apply([log.beginEpoch(1)]);
    const checkpoint = store.checkpoint();
    await store.apply([log.write(put('a', '1'))]);
    expect(await checkpoint).to.include({ lsn: 1 });
    expect(store.crash(0).get('a')).to.equal(undefined);
  });
});
