import { expect } from 'chai';
import type { LogPoint } from '../../lib/base/epoch-history.ts';
import { DiskFullError } from '../../lib/env/disk.ts';
import { SILENT_LOGGER } from '../../lib/observe/logger.ts';
import { Checkpointer } from '../../lib/store/checkpointer.ts';
import type { Store } from '../../lib/store/store.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { noMetrics } from '../support/no-metrics.ts';

function checkpointerUnderTest(checkpoint?: () => Promise<LogPoint | undefined>) {
  const clock = new FakeClock();
  const points: number[] = [];
  const failures: unknown[] = [];
  const state = { lsn: 0, calls: 0 };
  const store = {
    get applied() {
      return { lsn: state.lsn, chain: state.lsn };
    },
    checkpoint: () => {
      state.calls += 1;
      return checkpoint === undefined ? Promise.resolve({ lsn: state.lsn, chain: state.lsn }) : checkpoint();
    },
  } as unknown as Store;
  const checkpointer = new Checkpointer({
    store,
    clock,
    logger: SILENT_LOGGER,
    metrics: noMetrics(),
    operations: 100,
    intervalMs: 10_000,
    onCheckpointed: (point) => points.push(point.lsn),
    onFailed: (error) => failures.push(error),
  });
  const apply = async (lsn: number): Promise<void> => {
    state.lsn = lsn;
    checkpointer.noteApplied();
    await clock.settle();
  };
  return { clock, points, failures, state, checkpointer, apply };
}

describe('Checkpointer', () => {
  it('begins after so many operations, not before', async () => {
    const { points, apply } = checkpointerUnderTest();
    await apply(99);
    expect(points).to.deep.equal([]);
    await apply(100);
    expect(points).to.deep.equal([100]);
    await apply(150);
    expect(points).to.deep.equal([100]);
  });

  it('tries again when the disk was full, and fails for nothing else', async () => {
    let isFull = true;
    const { clock, points, failures, apply } = checkpointerUnderTest(async () => {
      if (isFull) throw new DiskFullError('no space');
      return { lsn: 100, chain: 100 };
    });
    await apply(100);
    expect(points).to.deep.equal([]);
    isFull = false;
    await clock.advance(1_000);
    expect(points).to.deep.equal([100]);
    expect(failures).to.deep.equal([]);

    const broken = checkpointerUnderTest(() => Promise.reject(new Error('disk I/O error')));
    await broken.apply(100);
    expect(broken.failures).to.have.length(1);
  });

  it('begins after the interval where something was applied, and not where nothing was', async () => {
    const { clock, points, state, apply } = checkpointerUnderTest();
    await apply(5);
    await clock.advance(10_000);
    expect(points).to.deep.equal([5]);
    await clock.advance(60_000);
    expect(state.calls).to.equal(1);
  });

  it('runs one at a time', async () => {
    let finish!: (point: LogPoint) => void;
    const { points, state, apply, clock } = checkpointerUnderTest(() => new Promise((resolve) => (finish = resolve)));
    await apply(100);
    await apply(300);
    expect(state.calls).to.equal(1);
    finish({ lsn: 100, chain: 100 });
    await clock.settle();
    expect(points, 'what it covered, not what was applied meanwhile').to.deep.equal([100]);
    await apply(301);
    expect(state.calls).to.equal(2);
  });

  it('asks again soon where a reader was in the way', async () => {
    let isBlocked = true;
    const { clock, points, apply, state } = checkpointerUnderTest(() => Promise.resolve(isBlocked ? undefined : { lsn: 100, chain: 100 }));
    await apply(100);
    await clock.advance(1_000);
    expect(points).to.deep.equal([]);
    expect(state.calls).to.be.within(3, 8);
    isBlocked = false;
    await clock.advance(1_000);
    expect(points).to.deep.equal([100]);
  });

  it('reports what fails', async () => {
    const { failures, apply } = checkpointerUnderTest(() => Promise.reject(new Error('disk I/O error')));
    await apply(100);
    expect(failures).to.have.length(1);
  });

  it('waits at its stop for the one that is running, and sets no timer any more', async () => {
    let finish!: (point: LogPoint) => void;
    const { clock, checkpointer, apply } = checkpointerUnderTest(() => new Promise((resolve) => (finish = resolve)));
    await apply(100);
    let isStopped = false;
    void checkpointer.stop().then(() => {
      isStopped = true;
    });
    await clock.settle();
    expect(isStopped).to.be.false;
    finish({ lsn: 100, chain: 100 });
    await clock.settle();
    expect(isStopped).to.be.true;
    expect(clock.timerCount).to.equal(0);
    checkpointer.request();
    await clock.advance(60_000);
  });
});
