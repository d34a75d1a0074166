import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { fake, useFakeTimers } from 'sinon';
import { nextTurn, sleep } from '../../lib/env/clock.ts';
import { RealClock } from '../../lib/env/real-clock.ts';
import { rejectionOf } from './rejection.ts';

describe('RealClock', () => {
  const clock = new RealClock();

  it('tells Unix time in whole milliseconds', () => {
    expect(Number.isInteger(clock.wallMs())).to.equal(true);
    expect(Math.abs(clock.wallMs() - Date.now())).to.be.lessThan(1_000);
  });

  it('never goes back', () => {
    let last = clock.monotonicMs();
    for (let round = 0; round < 10_000; round += 1) {
      const now = clock.monotonicMs();
      expect(now >= last).to.equal(true);
      last = now;
    }
  });

  it('never calls back early', async () => {
    const delays = [0, 0.3, 1, 1.7, 2.5, 5, 9.9];
    await Promise.all(
      Array.from({ length: 70 }, async (_, index) => {
        const delayMs = delays[index % delays.length]!;
        const startedMs = clock.monotonicMs();
        await heldOpen(sleep(clock, delayMs));
        expect(clock.monotonicMs() - startedMs).to.be.at.least(delayMs);
      }),
    );
  });

  it('does not call back after it was cancelled', async () => {
    const callback = fake();
    clock.setTimer(1, callback).cancel();
    await heldOpen(sleep(clock, 20));
    expect(callback.callCount).to.equal(0);
  });

  it('takes delays that are longer than what Node can count', async () => {
    const callback = fake();
    const timer = clock.setTimer(2 ** 40, callback);
    await heldOpen(sleep(clock, 20));
    expect(callback.callCount).to.equal(0);
    timer.cancel();
  });

  it('arms the timer again where the delay is longer than what Node can count', () => {
    const time = useFakeTimers();
    try {
      const callback = fake();
      new RealClock().setTimer(2 ** 32, callback);
      time.tick(2 ** 32 - 1);
      expect(callback.callCount).to.equal(0);
      time.tick(1);
      expect(callback.callCount).to.equal(1);
      time.tick(2 ** 32);
      expect(callback.callCount).to.equal(1);
    } finally {
      time.restore();
    }
  });

  it('gives way to I/O that is ready before it comes back', async () => {
    const order: string[] = [];
    const deferred = nextTurn(clock).then(() => order.push('next turn'));
    await Promise.resolve().then(() => order.push('microtask'));
    await deferred;
    expect(order).to.deep.equal(['microtask', 'next turn']);
  });

  it('stops sleeping when told to', async () => {
    const reason = new Error('enough');
    expect(await rejectionOf(sleep(clock, 60_000, AbortSignal.abort(reason)))).to.equal(reason);
    const controller = new AbortController();
    const asleep = sleep(clock, 60_000, controller.signal);
    controller.abort(reason);
    expect(await rejectionOf(asleep)).to.equal(reason);
  });

  it('keeps no process alive with its timers', () => {
    const script = `
      import { RealClock } from ${JSON.stringify(import.meta.resolve('../../lib/env/real-clock.ts'))};
      new RealClock().setTimer(3_600_000, () => {});
    `;
    const { status, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 15_000 });
    expect({ status, signal }).to.deep.equal({ status: 0, signal: null });
  });

  /** The clock's timers don't hold the process, so a test that waits for one has to. */
  async function heldOpen<Result>(promise: Promise<Result>): Promise<Result> {
    const hold = setInterval(() => {}, 60_000);
    try {
      return await promise;
    } finally {
      clearInterval(hold);
    }
  }
});
