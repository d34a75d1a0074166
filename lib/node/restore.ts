/** Makes a data directory of a new cluster out of a snapshot file. */
import { ShiplogError } from '../base/errors.ts';
import type { Environment } from '../env/environment.ts';
import { randomId } from '../env/random.ts';
import type { Logger } from '../observe/logger.ts';
import { restoreSnapshot, verifySnapshot } from '../snapshot/install.ts';
import { DataDirectory } from './data-directory.ts';

export interface RestoredDirectory {
  readonly clusterId: string;
  /** Position of the snapshot; the new cluster goes on after it, in an epoch of its own. */
  readonly lsn: number;
}

/**
 * All rows and positions of the snapshot stay; the cluster id is new, so that no node of the old
 * cluster takes the new one for its own. The node that starts on the directory is a primary.
 * @throws ShiplogError `data-directory-invalid` where the directory holds data, or the file is no sound snapshot.
 */
export async function restoreDirectory(snapshotPath: string, path: string, env: { environment: Environment; logger: Logger }): Promise<RestoredDirectory> {
  const { environment, logger } = env;
  await verifySnapshot(snapshotPath);
  const directory = await DataDirectory.open({ disk: environment.disk, logger, path, newNodeId: () => randomId(environment.random) });
  try {
    if (directory.current !== undefined || directory.identity.role !== null) {
      throw new ShiplogError('data-directory-invalid', `${path} holds the data of a node already: restore into an empty directory`);
    }
    const clusterId = randomId(environment.random);
    const generation = await directory.newGeneration();
    const { lsn, chain, history } = await restoreSnapshot({ disk: environment.disk, snapshotPath, databasePath: generation.databasePath, clusterId });
    // CURRENT before the role: a role without data is refused, data without a role is a primary's.
    await directory.setCurrent({ generation, clusterId, base: { lsn, chain }, history, kept: [] });
    await directory.setIdentity({ role: 'primary' });
    return { clusterId, lsn };
  } finally {
    await directory.close();
  }
}
