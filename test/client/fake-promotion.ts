/** What a node says while it is promoted, for tests of those who listen. */
import type { ServerResponse } from 'node:http';
import type { PlannedMember, PromoteEvent, PromotionPlan } from '../../lib/client/promotion-document.ts';
import { type FakeRoute, tableRoute } from './fake-node.ts';

const PRIMARY: PlannedMember = { nodeId: 'p', name: 'old', url: 'http://old:1', role: 'primary', state: 'primary', position: '1.c04d-42', behindTarget: 0 };
const TARGET: PlannedMember = { nodeId: 't', name: 'new', url: 'http://new:2', role: 'replica', state: 'following', position: '1.c04d-42', behindTarget: 0 };
const SILENT: PlannedMember = { nodeId: 's', name: 'gone', url: 'http://gone:3', role: null, state: null, position: null, behindTarget: null };

export function planOf(change: Partial<PromotionPlan> = {}): Extract<PromoteEvent, { type: 'plan' }> {
  return { type: 'plan', plan: { kind: 'switchover', target: TARGET, primary: PRIMARY, members: [PRIMARY, TARGET, SILENT], refusal: null, warnings: [], ...change } };
}

export const PLAN = planOf();

export const OUTCOME: Extract<PromoteEvent, { type: 'promoted' }> = {
  type: 'promoted',
  kind: 'switchover',
  epoch: { number: 2, id: `beef${'0'.repeat(28)}` },
  position: '2.beef-44',
  nodeId: 't',
  url: 'http://new:2',
  lost: null,
  warnings: [],
};

export const STEPS: readonly PromoteEvent[] = [
  { type: 'step', step: 'stopping-writes', message: 'old finishes its writes' },
  { type: 'step', step: 'catching-up', message: 'taking the rest' },
  { type: 'step', step: 'opening', message: 'opening epoch 2' },
  { type: 'step', step: 'announcing', message: 'telling the members' },
];

export function answerEvents(response: ServerResponse, events: readonly unknown[]): void {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  for (const event of events) response.write(`${JSON.stringify(event)}\n`);
  response.end();
}

/** A node that can be promoted: `asked` takes the bodies of the requests. A dry run is answered with the plan alone. */
export function promotableRoute(events: readonly PromoteEvent[], options: Parameters<typeof tableRoute>[0] = {}, asked: unknown[] = []): FakeRoute {
  const table = tableRoute(options);
  return (request, response, body) => {
    if (request.url !== '/promote') return table(request, response, body);
    const wish = JSON.parse(body) as { dryRun: boolean };
    asked.push(wish);
    answerEvents(response, wish.dryRun ? events.filter((event) => event.type === 'plan') : events);
  };
}
