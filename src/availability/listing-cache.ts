import { LRUCache } from 'lru-cache';
import { Fault } from '../fault.ts';
import { orAbort } from '../or-abort.ts';
import type { ListingFeed } from './listing-feed.ts';
import type { ListingHistory, MadeOf } from './listing-history.ts';
import type { SharedListings } from './shared-listings.ts';

/** An answer as bytes, and what makes it outdated. */
export interface Listing {
  readonly bytes: Uint8Array;
  readonly of: MadeOf;
  /** When time alone changes it: the first slot in it begins. */
  readonly until: Date | undefined;
}

/** Where an answer was: kept here, being read already for somebody else, left by another instance, or in the database only. */
export type Found = 'memory' | 'underway' | 'shared' | 'database';

/** Answers of public listings, kept for as long as nothing in them has changed. */
export interface ListingCache {
  /** The answer kept under `key`, else what `read` reads: once for all who ask meanwhile. */
  answer(key: string, read: (signal: AbortSignal) => Promise<Listing>, signal: AbortSignal): Promise<Uint8Array>;
}

export interface ListingCacheOptions {
  readonly history: ListingHistory;
  readonly feed: Pick<ListingFeed, 'asOf' | 'latest'>;
  /** Absent: each process keeps its own. */
  readonly shared?: SharedListings | undefined;
  /** Hears of each answer. */
  readonly count?: ((found: Found) => void) | undefined;
  readonly now: () => Date;
}

/**
 * Milliseconds for which it is trusted that nobody has changed a listing since it was read, or since the database was last
 * asked for changes. With the time of an answer on its way this stays below the second within which a listing is right.
 */
const TRUSTED_MS = 700;
/** Whatever has or hasn't been heard. */
const LONGEST_MS = 30_000;
/** Milliseconds for one read on behalf of all who wait for it. */
const READ_MS = 5_000;
/** Bytes of all answers together, and of what is kept beside each. */
const LARGEST = 24 * 1024 * 1024;
const BESIDE = 1_000;

interface Kept extends Listing {
  /** The place in the history when it began to be read, and the time, as performance.now() has it. */
  readonly since: number;
  readonly readAt: number;
  /** What the clock said then: should it be put back, what had begun lies ahead again. */
  readonly from: Date;
}

export function createListingCache({
  history,
  feed,
  shared,
  count = () => {},
  now,
}: ListingCacheOptions): ListingCache {
  const kept = new LRUCache<string, Kept>({
    maxSize: LARGEST,
    sizeCalculation: ({ bytes, of }, key) => bytes.length + 2 * key.length + 64 * of.doctors.length + BESIDE,
  });
  const reading = new Map<string, { readonly since: number; readonly answer: Promise<Uint8Array> }>();

  function isGood({ since, readAt, of, from, until }: Kept): boolean {
    const [at, time] = [performance.now(), now()];
    return (
      at - Math.max(readAt, feed.asOf()) < TRUSTED_MS &&
      at - readAt < LONGEST_MS &&
      time >= from &&
      (until === undefined || time < until) &&
      history.unchangedSince(since, of)
    );
  }
  async function readAfresh(key: string, read: (signal: AbortSignal) => Promise<Listing>): Promise<Uint8Array> {
    const [since, readAt, from, shows] = [history.now(), performance.now(), now(), feed.latest()];
    const given = await shared?.get(key);
    count(given ? 'shared' : 'database');
    const listing = given ?? (await inTime(read));
    kept.set(key, { ...listing, since, readAt, from });
    if (!given && shared && shows) shared.put(key, listing, shows);
    return listing.bytes;
  }
  return {
    answer(key, read, signal) {
      const found = kept.get(key);
      if (found && isGood(found)) {
        count('memory');
        return Promise.resolve(found.bytes);
      }
      // A read that began before something was heard may not show it, and whoever asks now may know of it.
      const underWay = reading.get(key);
      if (underWay?.since === history.now()) {
        count('underway');
        return orAbort(signal, underWay.answer);
      }
      const answer = readAfresh(key, read).finally(() => {
        if (reading.get(key)?.answer === answer) reading.delete(key);
      });
      reading.set(key, { since: history.now(), answer });
      return orAbort(signal, answer);
    },
  };
}

/** Who waits for a read is told when it takes too long, each in the time that they have. */
async function inTime<T>(read: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const late = () => controller.abort(new Fault('OVERLOADED', 'the database took too long'));
  const timer = setTimeout(late, READ_MS);
  try {
    return await read(controller.signal);
  } finally {
    clearTimeout(timer);
  }
}
