import type { Interceptor } from '@connectrpc/connect';
import { Fault } from '../fault.ts';
import { kPeerAddress } from './call.ts';
import { clientAt, type IsProxy } from './client-at.ts';
import type { Limits } from './limits.ts';
import { places } from './places.ts';

/** A watch that is refused is worth asking for again when others may have ended. */
const RETRY_AFTER_MS = 5_000;

/**
 * Bounds the streams that are open at once on one listener, of one client and in sum: they need no token, and nothing ends
 * them but their client. Behind a trusted proxy the client is whom the proxy names; if it names nobody, only the sum counts.
 */
export function limitWatches({ watches, watchesEach }: Limits, isProxy: IsProxy): Interceptor {
  const take = places({ all: watches, each: watchesEach });
  return (next) => (req) => {
    if (req.method.methodKind === 'unary') return next(req);
    const free = take(clientAt(req.contextValues.get(kPeerAddress), isProxy));
    if (!free) throw new Fault('OVERLOADED', 'too many streams are open', { retryAfterMs: RETRY_AFTER_MS });
    if (req.signal.aborted) free();
    else req.signal.addEventListener('abort', free, { once: true });
    return next(req);
  };
}
