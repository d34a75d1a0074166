import { expect } from 'chai';
import { LIMITS } from '../../lib/base/limits.ts';
import type { TableExport } from '../../lib/node/node-api.ts';
import { rejectionOf } from '../env/rejection.ts';
import { MemoryCluster } from '../support/memory-cluster.ts';

async function rowsOf(table: TableExport): Promise<Map<string, string>> {
  const rows = new Map<string, string>();
  for await (const { key, value } of table.rows('')) rows.set(key, value);
  return rows;
}

describe('an export', () => {
  it('is the state at its position, on any node, while writes go on', async () => {
    const { cluster, primary, replica } = await MemoryCluster.pair();
    const states = new Map<number, Map<string, string>>([[primary.node.visiblePosition().lsn, new Map()]]);
    const state = new Map<string, string>();
    const writeOne = async (value: number): Promise<void> => {
      const key = `k${value % 7}`;
      const isDelete = value % 5 === 4 && state.has(key);
      const result = await primary.node.write(isDelete ? { kind: 'delete', key } : { kind: 'put', key, value: String(value) }, {});
      if (result.outcome !== 'written') throw new Error(result.outcome);
      if (isDelete) state.delete(key);
      else state.set(key, String(value));
      states.set(result.position!.lsn, new Map(state));
    };
    const positions = new Set<number>();
    for (let round = 0; round < 30; round += 1) {
      const machine = round % 2 === 0 ? primary : replica;
      await cluster.clock.until(writeOne(round * 3));
      const atLeast = machine.node.visiblePosition().lsn;
      const exporting = machine.node.exportTable();
      await cluster.clock.until(writeOne(round * 3 + 1));
      const table = await cluster.clock.until(exporting);
      await cluster.clock.until(writeOne(round * 3 + 2));
      expect(table.position.lsn, 'what was visible before is in it').to.be.at.least(atLeast);
      expect(await cluster.clock.until(rowsOf(table))).to.deep.equal(states.get(table.position.lsn));
      expect(table.rowCount).to.equal(states.get(table.position.lsn)!.size);
      positions.add(table.position.lsn);
      await cluster.clock.until(table.close());
    }
    expect(positions.size).to.be.greaterThan(20);
    await cluster.stopAll();
  });

  it('is refused beyond a few at once, and possible again when one of them is closed', async () => {
    const { cluster, primary } = await MemoryCluster.pair();
    await cluster.clock.until(primary.put('k', 'v'));
    const open = await cluster.clock.until(Promise.all(Array.from({ length: LIMITS.exportsMax }, () => primary.node.exportTable())));
    expect(await rejectionOf(cluster.clock.until(primary.node.exportTable()))).to.include({ code: 'overloaded' });
    await cluster.clock.until(Promise.all([open[0]!.close(), open[0]!.close()]));
    const again = await cluster.clock.until(primary.node.exportTable());
    expect(await rejectionOf(cluster.clock.until(primary.node.exportTable()))).to.include({ code: 'overloaded' });
    for (const table of [...open, again]) await cluster.clock.until(table.close());
    await cluster.stopAll();
  });

  it('is refused where the disk has no room for it', async () => {
    const { cluster, primary } = await MemoryCluster.pair();
    primary.disk.setCapacity(1 << 20);
    expect(await rejectionOf(cluster.clock.until(primary.node.exportTable()))).to.include({ code: 'disk-full', status: 507 });
    await cluster.stopAll();
  });
});
