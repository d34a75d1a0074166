/**
 * GET where the rows are not in memory: with `cacheBytes` 0, and with far more keys than the default
 * holds; beside the two bare servers, all under the same load in turn.
 */
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { SERVER_CORE } from '../bench-process.ts';
import { type LoadFigures, runLoad } from '../load.ts';
import { ms, table, whole, withRange } from '../markdown.ts';
import { median } from '../statistics.ts';
import type { Rig } from './rig.ts';
import { type Finding, type Row, type RowReport, type RowsOptions, atLeast } from './row.ts';

/** Of `keys`: more than `cacheBytes` holds by default. */
const MANY_KEYS = 20;
const AT_LEAST_OF_HTTP = 1;
const AIM_OF_NET = 0.6;

export const UNCACHED_SERVERS = ['bare net socket', 'bare node:http', 'cacheBytes 0', 'many keys'] as const;
type ServerName = (typeof UNCACHED_SERVERS)[number];
export type UncachedRound = Readonly<Record<ServerName, LoadFigures>>;

interface Server {
  readonly url: string;
  readonly keys: number;
}

export const getUncached: Row = {
  name: 'get-uncached',
  run: async (rig) => renderUncached(await measureUncached(rig), rig.options),
};

export async function measureUncached(rig: Rig): Promise<readonly UncachedRound[]> {
  const { connections, valueBytes, seconds, generator } = rig.options;
  const servers = await startServers(rig);
  return await rig.rounds(async (_count, onStep) => {
    const figures: Partial<Record<ServerName, LoadFigures>> = {};
    for (const name of UNCACHED_SERVERS) {
      onStep(`get on ${name}`);
      figures[name] = await runLoad(generator, { ...servers[name], method: 'get', connections, valueBytes, seconds });
      await wait(REST_MS);
    }
    return figures as UncachedRound;
  });
}

/** What a load leaves to be done must not fall into the next one. */
const REST_MS = 300;

async function startServers(rig: Rig): Promise<Readonly<Record<ServerName, Server>>> {
  const { keys, valueBytes } = rig.options;
  const bare = (script: string): Promise<string> => rig.start([process.execPath, join(import.meta.dirname, '..', script), String(valueBytes)], SERVER_CORE).readyUrl();
  const uncached = await rig.serve({ dataDirectory: await rig.table(keys), flags: ['--cache-bytes', '0'] });
  const many = await rig.serve({ dataDirectory: await rig.table(MANY_KEYS * keys) });
  return {
    'bare net socket': { url: await bare('bare-net.ts'), keys },
    'bare node:http': { url: await bare('bare-http.ts'), keys },
    'cacheBytes 0': { url: uncached.url, keys },
    'many keys': { url: many.url, keys: MANY_KEYS * keys },
  };
}

export function renderUncached(rounds: readonly UncachedRound[], { keys, generator, connections }: RowsOptions): RowReport {
  const findings = [
    findingOf(`GET, \`cacheBytes\` 0, ${whole(keys)} keys`, 'cacheBytes 0', rounds),
    findingOf(`GET, default \`cacheBytes\`, ${whole(MANY_KEYS * keys)} keys`, 'many keys', rounds),
  ];
  const rows = UNCACHED_SERVERS.map((name) => {
    const of = (figure: keyof LoadFigures): number => median(rounds.map((round) => round[name][figure]));
    return [name, whole(of('requestsPerS')), ms(of('p50Ms')), ms(of('p99Ms'))];
  });
  const method = `${generator}, ${connections} connections; the servers take turns within a round. SQLite's files are in the memory of the operating system.`;
  return { findings, text: [method, '', ...table(['', 'requests/s', 'p50', 'p99'], rows)].join('\n') };
}

function findingOf(what: string, name: ServerName, rounds: readonly UncachedRound[]): Finding {
  const against = (other: ServerName): readonly number[] => rounds.map((round) => round[name].requestsPerS / round[other].requestsPerS);
  const [ofHttp, ofNet] = [against('bare node:http'), against('bare net socket')];
  return {
    what,
    measured: `${withRange(ofHttp)} × bare node:http, ${withRange(ofNet)} × bare socket`,
    atLeast: atLeast(ofHttp, AT_LEAST_OF_HTTP, '× bare node:http'),
    aim: atLeast(ofNet, AIM_OF_NET, '× bare socket'),
  };
}
