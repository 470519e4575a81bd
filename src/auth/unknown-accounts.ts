import { LRUCache } from 'lru-cache';
import { networkOf } from '../network.ts';
import { SignInPlace } from './sign-in-place.entity.ts';
import { normalEmail } from './user.entity.ts';

/** Longer than any wait after a wrong password. */
const KEPT_MS = 20 * 60_000;
const KEPT = 20_000;

/** Tries at accounts that don't exist, which wait as those at accounts do: else the time of a refusal could tell. */
export interface UnknownAccounts {
  /** What is known of tries at `email` from this place. */
  place(tried: { email: string; clientAddress: string }, now: Date): SignInPlace;
}

/** Kept in this process only, for 20,000 pairs of account and place at most. */
export function createUnknownAccounts(): UnknownAccounts {
  const places = new LRUCache<string, SignInPlace>({ max: KEPT, ttl: KEPT_MS });
  return {
    place({ email, clientAddress }, now) {
      const key = `${normalEmail(email)} ${networkOf(clientAddress)}`;
      const place = places.get(key) ?? SignInPlace.first('', '', now);
      places.set(key, place);
      return place;
    },
  };
}
