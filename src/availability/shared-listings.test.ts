import { expect, test } from '@jest/globals';
import type { Listing } from './listing-cache.ts';
import { createListingHistory } from './listing-history.ts';
import { shareListings } from './shared-listings.ts';
import type { Shelf } from './shelf.ts';

const listing: Listing = { bytes: Buffer.from('open'), of: { doctors: [], also: 'nothing' }, until: undefined };
const snapshot = (xmin: bigint) => ({ xmin, xmax: xmin, inProgress: new Set<bigint>() });

/** Shared by way of a shelf that lasts; what follows the database says that it is `server` now, since `xmin`. */
function share() {
  const texts = new Map<string, string>();
  const shelf: Shelf = {
    get: async (key) => texts.get(key),
    put: (key, text) => void texts.set(key, text),
  };
  const feed = { now: 'old', since: 900n, server: () => feed.now, earliest: () => snapshot(feed.since) };
  return { feed, shared: shareListings(shelf, createListingHistory(), feed) };
}

// After a restore to an earlier moment the numbers of transactions go back: what the old server showed seems to be the newest.

test('what was read from a server that has gone counts nowhere, also when it is put there after another has come', async () => {
  const { feed, shared } = share();
  const shows = { server: feed.now, snapshot: snapshot(1_000n) };
  Object.assign(feed, { now: 'restored', since: 500n });
  shared.put('a', listing, shows);
  expect(await shared.get('a')).toBeUndefined();
  shared.put('a', listing, { server: feed.now, snapshot: snapshot(500n) });
  expect(await shared.get('a')).toMatchObject({ bytes: listing.bytes });
});

test('nor when it is asked for just before', async () => {
  const { feed, shared } = share();
  shared.put('a', listing, { server: feed.now, snapshot: snapshot(1_000n) });
  const asked = shared.get('a');
  Object.assign(feed, { now: 'restored', since: 500n });
  expect(await asked).toBeUndefined();
});
