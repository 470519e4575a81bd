import type { Interceptor } from '@connectrpc/connect';
import { type Caller, kCaller } from './call.ts';

/** Throws SESSION_REVOKED, ACCOUNT_SUSPENDED or TOKEN_INVALID when the caller's session counts no more. */
export type CheckSession = (caller: Caller, signal: AbortSignal) => undefined | Promise<void>;

/**
 * Refuses callers whose session has ended though their token still runs. Methods with a request_id are let through: the
 * first statement of their unit of work asks the same of the database, at the very moment at which it counts.
 */
export function requireLiveSession(check: CheckSession): Interceptor {
  return (next) => (req) => {
    const caller = req.contextValues.get(kCaller);
    if (!caller || 'requestId' in req.method.input.field) return next(req);
    const asked = check(caller, req.signal);
    return asked ? asked.then(() => next(req)) : next(req);
  };
}
