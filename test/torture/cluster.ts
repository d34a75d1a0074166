import type { SeededRandom } from '../support/seeded-random.ts';
import { withCompileCache } from './compile-cache.ts';
import { findFreePort } from './free-port.ts';
import { NodeProcess, SHIPLOG_MAIN } from './node-process.ts';
import type { Workbench } from './workbench.ts';

export interface ClusterDirectories {
  readonly primary: string;
  readonly replica: string;
}

interface ClusterPorts {
  readonly primary: number;
  readonly replica: number;
}

/** A primary and a replica, each started again and again in the same place. */
export class TortureCluster {
  readonly #workbench: Workbench;
  readonly #directories: ClusterDirectories;
  readonly #ports: ClusterPorts;
  readonly #environment: NodeJS.ProcessEnv;
  primary: NodeProcess;
  replica: NodeProcess;

  private constructor(workbench: Workbench, directories: ClusterDirectories, ports: ClusterPorts, nodeEnvironment: NodeJS.ProcessEnv) {
    this.#workbench = workbench;
    this.#directories = directories;
    this.#ports = ports;
    this.#environment = withCompileCache(nodeEnvironment, workbench, SHIPLOG_MAIN);
    this.primary = this.#newPrimary();
    this.replica = this.#newReplica();
  }

  static async start(
    workbench: Workbench,
    directories: ClusterDirectories,
    random: SeededRandom,
    nodeEnvironment: NodeJS.ProcessEnv = process.env,
  ): Promise<TortureCluster> {
    const primary = await findFreePort(random);
    let replica = primary;
    while (replica === primary) replica = await findFreePort(random);
    const cluster = new TortureCluster(workbench, directories, { primary, replica }, nodeEnvironment);
    await Promise.all([cluster.primary.ready(), cluster.replica.ready()]);
    return cluster;
  }

  /** Only started, not ready yet. */
  spawnPrimary(): NodeProcess {
    this.primary = this.#newPrimary();
    return this.primary;
  }

  spawnReplica(): NodeProcess {
    this.replica = this.#newReplica();
    return this.replica;
  }

  #newPrimary(): NodeProcess {
    return new NodeProcess({
      workbench: this.#workbench,
      environment: this.#environment,
      name: 'primary',
      dataDirectory: this.#directories.primary,
      port: this.#ports.primary,
    });
  }

  #newReplica(): NodeProcess {
    return new NodeProcess({
      workbench: this.#workbench,
      environment: this.#environment,
      name: 'replica',
      dataDirectory: this.#directories.replica,
      port: this.#ports.replica,
      followUrl: this.primary.url,
    });
  }
}
