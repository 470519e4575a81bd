import type { DescMethod } from '@bufbuild/protobuf';
import type { Interceptor } from '@connectrpc/connect';
import { Fault } from '../fault.ts';
import { networkOf } from '../network.ts';
import { kCaller, kPeerAddress } from './call.ts';

/** How often a method may be called. */
export interface RateLimit {
  readonly method: DescMethod;
  readonly perMinute: number;
  /** Whose calls count together: those of an account, or of a client address (of IPv6, its /64). */
  readonly per: 'account' | 'client';
}

/** Counts one call for `key`; answers the milliseconds until the next is taken, 0 when this one is. */
export type TakeTurn = (key: string, perMinute: number) => Promise<number>;

/** Refuses calls beyond the limits with RATE_LIMITED, before anything is done for them. */
export function limitRates(limits: readonly RateLimit[], take: TakeTurn): Interceptor {
  const byMethod = new Map(limits.map((limit) => [limit.method, limit]));
  return (next) => {
    const limited = async (req: Parameters<typeof next>[0], limit: RateLimit) => {
      const { contextValues } = req;
      const who =
        limit.per === 'account' ? contextValues.get(kCaller)?.userId : networkOf(contextValues.get(kPeerAddress));
      const waitMs = await take(`${req.method.name}:${who}`, limit.perMinute);
      if (waitMs > 0) throw tooMany(limit, waitMs);
      return next(req);
    };
    return (req) => {
      const limit = byMethod.get(req.method);
      return limit ? limited(req, limit) : next(req);
    };
  };
}

function tooMany({ perMinute, per }: RateLimit, retryAfterMs: number): Fault {
  const metadata = { limit: `${perMinute}`, per };
  return new Fault('RATE_LIMITED', `more than ${perMinute} calls a minute`, { metadata, retryAfterMs });
}
