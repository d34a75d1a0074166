import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes of buffers in this process. Above `limitBytes` garbage is not counted: when it is collected is nobody's promise. */
export function heldBuffersBytes(limitBytes: number): number {
  const { arrayBuffers } = process.memoryUsage();
  if (arrayBuffers < limitBytes) return arrayBuffers;
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // The first one finds the buffers that nobody holds, and frees them beside the program; the second one waits for that.
  collect();
  collect();
  return process.memoryUsage().arrayBuffers;
}
