/**
 * Exit codes, for scripts and service managers. Those from 64 on say why a node stopped: a service
 * manager must not restart a node whose data or configuration somebody has to look at first.
 */
import { type ErrorCode, isShiplogError } from '../base/errors.ts';
import { TransportError } from '../env/transport.ts';

export const EXIT_CODES = {
  ok: { code: 0, meaning: 'done' },
  failed: { code: 1, meaning: 'failed; the message says why' },
  usage: { code: 2, meaning: 'the command line is wrong' },
  notFound: { code: 3, meaning: 'there is no such key, or no such node' },
  unreachable: { code: 4, meaning: 'the node did not answer' },
  notEqual: { code: 5, meaning: 'verification found a difference or damage' },
  outcomeUnknown: { code: 6, meaning: 'it is not known whether it was carried out, or it is stored but not confirmed: a write, a promotion' },
  promotionRefused: { code: 7, meaning: 'the promotion was refused; the message names what would go on' },
  positionLost: { code: 8, meaning: 'the position is in no surviving history' },
  logDamaged: { code: 66, meaning: 'the log is damaged' },
  logPoisoned: { code: 67, meaning: 'a write to disk failed' },
  dataDirectoryInUse: { code: 68, meaning: 'another process uses the data directory' },
  portInUse: { code: 69, meaning: 'the port is taken' },
  dataDirectoryInvalid: { code: 70, meaning: 'the data directory can not be used' },
  storeFailed: { code: 71, meaning: 'the database reported an error' },
  diskFull: { code: 74, meaning: 'the disk is full' },
  retryLater: { code: 75, meaning: 'refused for now; the same may succeed later' },
  noPermission: { code: 77, meaning: 'the system does not permit it' },
  badConfig: { code: 78, meaning: 'the configuration is wrong' },
} as const;

export type ExitReason = keyof typeof EXIT_CODES;

export function exitCodeOf(error: unknown): number {
  return EXIT_CODES[exitReasonOf(error)].code;
}

const REASON_OF_ERROR: Partial<Record<ErrorCode, ExitReason>> = {
  'not-found': 'notFound',
  'outcome-unknown': 'outcomeUnknown',
  'ack-timeout': 'outcomeUnknown',
  'position-lost': 'positionLost',
  'promotion-refused': 'promotionRefused',
  'log-damaged': 'logDamaged',
  'log-poisoned': 'logPoisoned',
  'data-directory-in-use': 'dataDirectoryInUse',
  'port-in-use': 'portInUse',
  'data-directory-invalid': 'dataDirectoryInvalid',
  'store-failed': 'storeFailed',
  'disk-full': 'diskFull',
  'not-ready': 'retryLater',
  'not-primary': 'retryLater',
  'no-primary': 'retryLater',
  'too-few-replicas': 'retryLater',
  'position-not-reached': 'retryLater',
  'overloaded': 'retryLater',
  'stopping': 'retryLater',
  'timeout': 'retryLater',
  'promotion-under-way': 'retryLater',
  'bad-config': 'badConfig',
};

const REASON_OF_SYSTEM_ERROR: Readonly<Record<string, ExitReason>> = {
  EADDRINUSE: 'portInUse',
  EACCES: 'noPermission',
  EPERM: 'noPermission',
  EROFS: 'noPermission',
  ENOSPC: 'diskFull',
  EDQUOT: 'diskFull',
};

function exitReasonOf(error: unknown): ExitReason {
  if (error instanceof TransportError) return 'unreachable';
  if (isShiplogError(error)) return REASON_OF_ERROR[error.code] ?? 'failed';
  // What the system said may lie below what we said about it.
  for (let each = error; each instanceof Error; each = each.cause) {
    const reason = REASON_OF_SYSTEM_ERROR[(each as NodeJS.ErrnoException).code ?? ''];
    if (reason !== undefined) return reason;
  }
  return 'failed';
}
