import { messageOf } from '../base/errors.ts';
import type { Logger } from '../observe/logger.ts';

/** Neither key nor value: the route tells enough. */
export interface FailedRequest {
  readonly method: string;
  readonly route: string | undefined;
}

/** For failures of ours: clients learn nothing about those but that there was one. */
export function logFailure(logger: Logger, { method, route }: FailedRequest, error: unknown): void {
  logger.error('a request failed', { method, route, error: messageOf(error), ...(error instanceof Error && { stack: error.stack }) });
}
