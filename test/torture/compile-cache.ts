import { execFileSync } from 'node:child_process';

import type { Workbench } from './workbench.ts';

/**
 * Environment for nodes that start again and again: Node keeps what it compiled in a directory, which
 * halves the time of a start. A process writes it when it exits by itself, which nodes here seldom do, so
 * it is filled first.
 */
export function withCompileCache(nodeEnvironment: NodeJS.ProcessEnv, workbench: Workbench, program: string): NodeJS.ProcessEnv {
  const environment = { ...nodeEnvironment, NODE_COMPILE_CACHE: workbench.path('compile-cache') };
  execFileSync(process.execPath, [program, '--version'], { env: environment, stdio: 'ignore' });
  return environment;
}
