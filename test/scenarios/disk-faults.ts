/** A power cut at a chosen moment: while a small file (CURRENT, node.json) is replaced, or while the log grows. */
import type { DiskCall, DiskFault, MemoryDiskOptions } from '../support/memory-disk.ts';

/** `before`: nothing of it has happened. `after`: it is there for good. */
export type Moment = 'before' | 'after';

interface Armed {
  readonly moment: Moment;
  /** The call that changes the disk, and the one that makes the change last. */
  readonly isChange: (call: DiskCall) => boolean;
  readonly isSync: (call: DiskCall) => boolean;
  isChanged: boolean;
}

export class DiskFaults {
  readonly disk: Partial<MemoryDiskOptions> = { intercept: (call) => this.#faultOf(call) };
  #armed: Armed | undefined;

  crashAtReplacing(fileName: string, moment: Moment): void {
    const isChange = (call: DiskCall): boolean => call.name === 'rename' && call.to?.endsWith(`/${fileName}`) === true;
    this.#armed = { moment, isChange, isSync: (call) => call.name === 'syncDirectory', isChanged: false };
  }

  crashAtLogging(moment: Moment): void {
    const isOfLog = (call: DiskCall): boolean => call.path.includes('/wal/');
    this.#armed = { moment, isChange: (call) => call.name === 'writeAt' && isOfLog(call), isSync: (call) => call.name === 'sync' && isOfLog(call), isChanged: false };
  }

  #faultOf(call: DiskCall): DiskFault | undefined {
    const armed = this.#armed;
    if (armed === undefined) return undefined;
    const isChange = armed.isChange(call);
    const isHit = armed.moment === 'after' ? armed.isChanged && armed.isSync(call) : isChange;
    armed.isChanged ||= isChange;
    if (!isHit) return undefined;
    this.#armed = undefined;
    return { kind: 'halt', effect: armed.moment === 'after' };
  }
}
