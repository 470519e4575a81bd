import type { Interceptor } from '@connectrpc/connect';
import { Fault } from '../fault.ts';

/** When to refuse calls at the door. */
export interface Shedding {
  /** Whether a call that needs the database would wait for it too long. */
  readonly full: () => boolean;
  /** Full names of services that don't need it. */
  readonly except: readonly string[];
}

/** Milliseconds after which those refused should come again: not all at once. */
const AGAIN_MS = { least: 500, spread: 1_000 };

/** Refuses calls with OVERLOADED before anything is done for them, while there is more to do than can be done in time. */
export function shedLoad({ full, except }: Shedding): Interceptor {
  return (next) => (req) => {
    if (except.includes(req.service.typeName) || !full()) return next(req);
    const retryAfterMs = AGAIN_MS.least + Math.random() * AGAIN_MS.spread;
    throw new Fault('OVERLOADED', 'more work waits than can be done in time', { retryAfterMs });
  };
}
