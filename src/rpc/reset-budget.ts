import { constants, type ServerHttp2Session } from 'node:http2';
import { LRUCache } from 'lru-cache';
import { networkOf } from '../network.ts';
import { bareAddress } from './client-address.ts';
import type { DoorOptions } from './connection-limit.ts';

/** Called for each call that its client breaks off. */
export type BreakOff = (session: ServerHttp2Session) => void;

/** Of so many clients at once the budget is known; who is forgotten begins anew. */
const MOST_CLIENTS = 10_000;

/**
 * What one client may cost by breaking calls off, over all its connections: `resetBurst` at once and `resetRate` a second,
 * at 0.1 ms each. Whoever spends more loses the connection. Proxies break off for many and are bounded by nghttp2 alone.
 */
export function resetBudget({ limits, isProxy, turnAway }: DoorOptions, now = () => performance.now()): BreakOff {
  const { resetBurst, resetRate } = limits;
  const budgets = new LRUCache<string, { left: number; at: number }>({ max: MOST_CLIENTS });
  return (session) => {
    if (session.destroyed) return;
    const address = bareAddress(session.socket.remoteAddress ?? '') ?? '';
    if (isProxy(address)) return;
    const [client, at] = [networkOf(address), now()];
    const before = budgets.get(client) ?? { left: resetBurst, at };
    const left = Math.min(resetBurst, before.left + ((at - before.at) / 1000) * resetRate) - 1;
    budgets.set(client, { left: Math.max(left, 0), at });
    if (left >= 0) return;
    turnAway('too many calls broken off');
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    session.destroy();
  };
}
