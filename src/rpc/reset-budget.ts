import { constants } from 'node:http2';
import { LRUCache } from 'lru-cache';
import type { Visitor } from './client-at.ts';
import type { DoorOptions } from './connection-limit.ts';

/** What clients may cost by breaking calls off. */
export interface ResetBudget {
  /** Called for each call that begins. Answers whether it may: where nothing is left, its connection is ended. */
  readonly begin: (visitor: Visitor) => boolean;
  /** Called for each call that its client breaks off, by a reset or by hanging up, after its `begin`. */
  readonly breakOff: (visitor: Visitor) => void;
}

/** Of so many clients at once the budget is known; who is forgotten begins anew. */
const MOST_CLIENTS = 10_000;

/**
 * What one client may cost by breaking calls off, over all its connections: `resetBurst` at once and `resetRate` a second,
 * at 0.1 ms each. Whoever spends more loses the connection, and has none for calls until the debt is paid: a hang-up breaks
 * off all calls at once. Proxies break off for many and are bounded by nghttp2 alone.
 */
export function resetBudget(
  { limits, turnAway }: Pick<DoorOptions, 'limits' | 'turnAway'>,
  now: () => number = () => performance.now(),
): ResetBudget {
  const { resetBurst, resetRate } = limits;
  const budgets = new LRUCache<string, { left: number; at: number }>({ max: MOST_CLIENTS });
  const charge = ({ session, client }: Visitor, calls: number): boolean => {
    if (client === undefined) return true;
    const at = now();
    const before = budgets.get(client) ?? { left: resetBurst, at };
    const left = Math.min(resetBurst, before.left + ((at - before.at) / 1000) * resetRate) - calls;
    budgets.set(client, { left, at });
    if (left >= 0 || session.destroyed) return left >= 0;
    turnAway('too many calls broken off', client);
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    session.destroy();
    return false;
  };
  return { begin: (visitor) => charge(visitor, 0), breakOff: (visitor) => void charge(visitor, 1) };
}
