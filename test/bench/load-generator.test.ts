import { expect } from 'chai';
import { HttpProtocol } from '../../lib/bench/http-protocol.ts';
import type { LoadFigures } from '../../lib/bench/load-figures.ts';
import { LoadGenerator, type LoadPlan } from '../../lib/bench/load-generator.ts';
import { KEY_PREFIX } from '../../lib/bench/protocol.ts';
import { RateSchedule } from '../../lib/bench/rate-schedule.ts';
import { eachKeyOnce, mixedWorkload } from '../../lib/bench/workload.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { type FakeRawNode, fakeRawNode } from './fake-raw-node.ts';

const URL = 'http://node:1';

describe('the rate schedule', () => {
  it('spreads requests evenly, the first at the start', () => {
    const schedule = new RateSchedule(1_000, 100);
    expect([0, 1, 100].map((index) => schedule.dueMs(index))).to.deep.equal([1_000, 1_010, 2_000]);
    expect([999, 1_000, 1_009.9, 1_010, 2_000].map((nowMs) => schedule.dueCount(nowMs))).to.deep.equal([0, 1, 1, 2, 101]);
  });

  it('never calls a request due before its own moment, whatever rounding does', () => {
    for (const rate of [3, 7, 333, 9_999, 70_001]) {
      const schedule = new RateSchedule(0.1, rate);
      for (let index = 0; index < 2_000; index += 1) {
        const dueMs = schedule.dueMs(index);
        expect(schedule.dueMs(schedule.dueCount(dueMs) - 1)).to.be.at.most(dueMs);
        expect(schedule.dueCount(dueMs)).to.be.within(index, index + 1);
      }
    }
  });
});

describe('the load generator', () => {
  let clock: FakeClock;
  beforeEach(() => {
    clock = new FakeClock();
  });

  function generatorFor(node: FakeRawNode, plan: Partial<LoadPlan>, readPercent = 50): LoadGenerator {
    const workload = mixedWorkload(new SeededRandom(1), readPercent, 10);
    const protocol = new HttpProtocol({ url: URL, valueBytes: 3 });
    return new LoadGenerator({ clock, connect: node.connect, url: URL, protocol, workload, plan: { connections: 2, pipeline: 1, ...plan }, spinMs: 0 });
  }

  const load = (node: FakeRawNode, plan: Partial<LoadPlan>, signal?: AbortSignal): Promise<LoadFigures> => clock.until(generatorFor(node, plan).run(signal));

  /** Nobody answers between 2 s and 3 s. */
  const stalling = (): FakeRawNode => fakeRawNode(clock, { answerAtMs: (atMs) => (atMs > 2_000 && atMs < 3_000 ? 3_000 : atMs) });

  it('in a closed loop, keeps one request on its way on each connection until there were enough', async () => {
    const node = fakeRawNode(clock);
    const figures = await load(node, { requestsMax: 100 });
    expect(figures).to.deep.include({ requests: 100, answered: 100, failed: 0, elapsedMs: 50, requestsPerS: 2_000, errors: {} });
    expect(figures.all.latencyMs).to.deep.equal({ p50: 1, p90: 1, p99: 1, p999: 1, max: 1 });
    expect(figures.reads.answered + figures.writes.answered).to.equal(100);
    expect(node.requests).to.have.length(100);
    expect(node.requests.every((request) => new RegExp(`^(GET /get|POST /set)/${KEY_PREFIX}0000000\\d$`).test(request))).to.equal(true);
    expect(clock.timerCount).to.equal(0);
  });

  it('mixes reads and writes as asked', async () => {
    const node = fakeRawNode(clock);
    const figures = await clock.until(generatorFor(node, { requestsMax: 1_000 }, 90).run());
    expect(figures.reads.answered).to.be.within(850, 950);
    expect(node.requests.filter((request) => request.startsWith('GET'))).to.have.length(figures.reads.answered);
  });

  it('fills the pipeline of each connection', async () => {
    const figures = await load(fakeRawNode(clock), { requestsMax: 80, pipeline: 8 });
    expect(figures).to.deep.include({ answered: 80, elapsedMs: 40 });
    // The last of eight waits for the seven before it.
    expect(figures.all.latencyMs!.max).to.equal(8);
  });

  it('sends each key once where it is told to', async () => {
    const node = fakeRawNode(clock);
    const protocol = new HttpProtocol({ url: URL, valueBytes: 40_000 });
    await clock.until(new LoadGenerator({ clock, connect: node.connect, url: URL, protocol, workload: eachKeyOnce('set'), plan: { connections: 3, pipeline: 2, requestsMax: 120 } }).run());
    expect(new Set(node.requests).size).to.equal(120);
    expect(node.requests).to.include(`POST /set/${KEY_PREFIX}00000119`);
  });

  it('in a closed loop, ends after its time with all answers', async () => {
    const figures = await load(fakeRawNode(clock), { durationMs: 1_000 });
    expect(figures.answered).to.equal(2_000);
    expect(figures.failed).to.equal(0);
  });

  it('at a fixed rate, shows a stall of a second in the percentiles: waiting counts from when a request was due', async () => {
    const figures = await load(stalling(), { durationMs: 10_000, requestsPerS: 100 });
    expect(figures).to.deep.include({ requests: 1_000, answered: 1_000, unsent: 0 });
    // Of 1,000 requests 100 fell into the second: a tenth waited, 500 ms in the mean.
    expect(figures.all.latencyMs!.p50).to.be.below(2);
    expect(figures.all.latencyMs!.p99).to.be.within(850, 1_000);
    expect(figures.all.latencyMs!.max).to.be.within(950, 1_050);
  });

  it('in a closed loop, hides the same stall, which is why there is a fixed rate', async () => {
    const figures = await load(stalling(), { durationMs: 10_000 });
    expect(figures.all.latencyMs!.p99).to.be.below(2);
    expect(figures.all.latencyMs!.max).to.be.within(950, 1_050);
  });

  it('at a fixed rate, sends neither more nor fewer than that', async () => {
    const node = fakeRawNode(clock);
    const figures = await load(node, { durationMs: 2_000, requestsPerS: 333 });
    expect(figures.answered).to.equal(666);
    expect(node.requests).to.have.length(666);
    expect(figures.all.latencyMs!.max).to.be.within(0.9, 2);
  });

  it('at a rate that the node can not take, says how many were never sent, and counts their waiting', async () => {
    const figures = await load(fakeRawNode(clock), { connections: 1, durationMs: 10_000, requestsPerS: 2_000 });
    // A thousand a second for ten seconds and the five that are waited.
    expect(figures.requests).to.be.within(14_990, 15_010);
    expect(figures.requests + figures.unsent).to.equal(20_000);
    expect(figures.all.latencyMs!.max).to.be.above(7_000);
  });

  it('counts failures by status, apart from latency', async () => {
    const statuses = [200, 503, 404, 200];
    let next = 0;
    const figures = await load(fakeRawNode(clock, { status: () => statuses[next++ % 4]! }), { requestsMax: 400 });
    const writesAnswered404 = figures.errors['status 404'] ?? 0;
    expect(figures.errors['status 503']).to.equal(100);
    expect(figures).to.deep.include({ requests: 400, answered: 300 - writesAnswered404, failed: 100 + writesAnswered404, missing: 100 - writesAnswered404 });
    expect(figures.missing).to.be.above(0);
  });

  it('ends when it is told to, with the figures so far', async () => {
    const stop = new AbortController();
    clock.setTimer(500, () => stop.abort());
    const figures = await load(fakeRawNode(clock), { durationMs: 60_000 }, stop.signal);
    expect(figures.answered).to.be.within(998, 1_002);
    expect(figures.failed).to.equal(0);
    expect(clock.monotonicMs()).to.be.within(500, 502);
  });

  it('does not wait for ever for answers that do not come, and counts them', async () => {
    const figures = await load(fakeRawNode(clock, { answerAtMs: (atMs) => (atMs < 100 ? atMs : undefined) }), { durationMs: 1_000 });
    expect(figures.errors).to.deep.equal({ 'no answer': 2 });
    expect(figures.requests).to.equal(figures.answered + 2);
    expect(figures.all.latencyMs!.max).to.be.within(5_800, 6_000);
  });

  it('counts what was under way when a connection breaks, and connects again', async () => {
    const node = fakeRawNode(clock);
    clock.setTimer(500.5, () => node.cut());
    const figures = await load(node, { durationMs: 1_000 });
    expect(figures.errors).to.deep.equal({ 'read ECONNRESET': 2 });
    expect(figures.requests).to.equal(figures.answered + 2);
    // A tenth of a second is lost.
    expect(figures.answered).to.be.within(1_750, 1_850);
  });

  it('at a fixed rate, sends what was due meanwhile once it is connected again, and counts the waiting', async () => {
    const node = fakeRawNode(clock);
    // Both connections are idle at that moment: nothing is lost, but nothing can be sent either.
    clock.setTimer(505, () => node.cut());
    const figures = await load(node, { durationMs: 1_000, requestsPerS: 100 });
    expect(figures).to.deep.include({ requests: 100, answered: 100, failed: 0, unsent: 0 });
    expect(figures.all.latencyMs!.max).to.be.within(90, 110);
  });

  it('gives up where nobody is there any more, and where nobody ever was', async () => {
    const node = fakeRawNode(clock);
    clock.setTimer(500, () => {
      node.isGone = true;
      node.cut();
    });
    const figures = await load(node, { requestsMax: 1e9 });
    expect(figures.gaveUp).to.contain('ECONNREFUSED');
    expect(figures.answered).to.be.within(996, 1_000);
    expect(figures.requests).to.equal(figures.answered + figures.failed);
    expect(clock.monotonicMs()).to.be.within(10_000, 11_500);
    expect(String(await load(node, { requestsMax: 1 }).catch((error: unknown) => error))).to.contain('ECONNREFUSED');
    expect(clock.timerCount).to.equal(0);
  });

  it('tells how far it is', async () => {
    const generator = generatorFor(fakeRawNode(clock), { requestsMax: 1_000 });
    expect(generator.progress).to.deep.equal({ answered: 0, failed: 0, elapsedMs: 0, fraction: 0 });
    const run = generator.run();
    await clock.advance(250);
    expect(generator.progress).to.deep.equal({ answered: 500, failed: 0, elapsedMs: 250, fraction: 0.5 });
    await clock.until(run);
    expect(generator.progress.fraction).to.equal(1);
  });
});
