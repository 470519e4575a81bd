import type { Interceptor } from '@connectrpc/connect';
import { Fault } from '../fault.ts';
import { type Caller, kCaller } from './call.ts';

/** Whose token it is. Throws TOKEN_INVALID, TOKEN_EXPIRED, SESSION_REVOKED or ACCOUNT_SUSPENDED. */
export type VerifyToken = (token: string) => Caller | Promise<Caller>;

/**
 * One bearer token as RFC 6750 writes it; several values arrive joined by a comma, and don't match. Few blanks: the token
 * may be remembered, and keeps the whole header in memory.
 */
const BEARER = /^bearer {1,8}([\w.~+/-]+=*)$/i;

/** Bearer token -> kCaller. No header is nobody; a header that isn't a valid token is refused, on public methods too. */
export function authenticate(verify: VerifyToken): Interceptor {
  return (next) => (req) => {
    const header = req.header.get('authorization');
    if (header === null) return next(req);
    const asCaller = (caller: Caller) => {
      req.contextValues.set(kCaller, caller);
      return next(req);
    };
    const caller = verify(tokenIn(header));
    return caller instanceof Promise ? caller.then(asCaller) : asCaller(caller);
  };
}

function tokenIn(header: string): string {
  const token = BEARER.exec(header)?.[1];
  if (!token) throw new Fault('TOKEN_INVALID', 'the authorization header is not one bearer token');
  return token;
}
