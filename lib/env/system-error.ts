/**
 * What the system said, in words that name the file. Node's own errors of calls on a descriptor are
 * just `EIO: i/o error, write`.
 */
import { DiskFullError } from './disk.ts';

/** Keeps `code`, `errno` and `syscall` of the system's error, which is the `cause`. */
export class SystemError extends Error {
  readonly code: string | undefined;
  readonly errno: number | undefined;
  readonly syscall: string | undefined;
  readonly path: string;

  constructor(message: string, cause: NodeJS.ErrnoException, path: string) {
    super(message, { cause });
    this.name = 'SystemError';
    this.code = cause.code;
    this.errno = cause.errno;
    this.syscall = cause.syscall;
    this.path = path;
  }
}

/** `action` completes "can not …": `open for writing`. @returns DiskFullError for ENOSPC and EDQUOT, else a SystemError. */
export function describeSystemError(cause: NodeJS.ErrnoException, action: string, path: string): Error {
  if (isDiskFull(cause)) return new DiskFullError(`can not ${action} ${path}: ${reasonOf(cause)}`, { cause });
  return new SystemError(`can not ${action} ${path}: ${reasonOf(cause)}`, cause, path);
}

/**
 * As describeSystemError, but never a DiskFullError: when a sync fails, whatever it says, the kernel has
 * dropped data that was written before. That does not get better when space comes back.
 */
export function describeSyncError(cause: NodeJS.ErrnoException, path: string): Error {
  return new SystemError(`can not sync ${path}: ${reasonOf(cause)}`, cause, path);
}

export function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

function isDiskFull(error: NodeJS.ErrnoException): boolean {
  return error.code === 'ENOSPC' || error.code === 'EDQUOT';
}

function reasonOf(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'EACCES':
    case 'EPERM':
      return `permission denied (${error.code}); let the user of this process read and write it, or name another place`;
    case 'EROFS':
      return 'the file system is read-only (EROFS); remount it for writing, or name another place';
    case 'ENOSPC':
      return 'no space is left on the device (ENOSPC)';
    case 'EDQUOT':
      return "the user's disk quota is used up (EDQUOT)";
    case 'ENOENT':
      return 'there is no such file or directory (ENOENT)';
    case 'EEXIST':
    case 'ENOTDIR':
      return `there is a file where a directory is expected (${error.code}); name another place`;
    case 'EISDIR':
      return 'there is a directory where a file is expected (EISDIR); name another place';
    case 'EMFILE':
    case 'ENFILE':
      return `too many files are open (${error.code}); raise the limit (ulimit -n, LimitNOFILE=)`;
    default:
      return error.message;
  }
}
