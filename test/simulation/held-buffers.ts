import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes of buffers in this process. Above `limitBytes` garbage is not counted: when it is collected is nobody's promise. */
export function heldBuffersBytes(limitBytes: number): number {
  const { arrayBuffers } = process.memoryUsage();
  if (arrayBuffers < limitBytes) return arrayBuffers;
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().arrayBuffers;
}
