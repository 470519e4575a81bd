import { parseSnapshot, type Snapshot, seesAllOf, snapshotText } from '../db/snapshot.ts';
import type { Listing } from './listing-cache.ts';
import type { ListingFeed, Shown } from './listing-feed.ts';
import type { ListingHistory, MadeOf } from './listing-history.ts';
import { digest, type Shelf, sealed, unsealed } from './shelf.ts';

/** Listings that instances share. */
export interface SharedListings {
  /** One that is what would be read now; undefined when there is none. Never rejects. */
  get(key: string): Promise<Listing | undefined>;
  /** Leaves one for others; `shows` is what the database showed before it was read. */
  put(key: string, listing: Listing, shows: Shown): void;
}

/** Changes when what lies on the shelf does. */
const VERSION = 1;
const LIFE_MS = 30_000;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

interface Written {
  readonly shows: string;
  readonly until: number | null;
  readonly doctors: readonly string[];
  readonly also: MadeOf['also'];
  readonly bytes: string;
}

/**
 * Shares listings by way of `shelf`, which is believed in nothing that matters: what it holds says which moment of the database
 * it shows, and counts only when this process knows every change since, and knows of none in it.
 */
export function shareListings(
  shelf: Shelf,
  history: ListingHistory,
  feed: Pick<ListingFeed, 'earliest' | 'server'>,
): SharedListings {
  const place = (server: string, key: string) => `amrutam:listing:${VERSION}:${digest(`${server} ${key}`)}`;
  return {
    async get(key) {
      const server = feed.server();
      const [text, earliest] = [await shelf.get(place(server, key)), feed.earliest()];
      const found = text === undefined ? undefined : read(key, text);
      if (!found || !earliest || feed.server() !== server) return undefined;
      const { shows, listing } = found;
      return seesAllOf(shows, earliest) && history.unchangedAfter(shows, listing.of) ? listing : undefined;
    },
    put(key, { bytes, of, until }, { server, snapshot }) {
      const written: Written = {
        shows: snapshotText(snapshot),
        until: until?.getTime() ?? null,
        ...of,
        bytes: Buffer.from(bytes).toString('base64'),
      };
      shelf.put(place(server, key), sealed(key, written), LIFE_MS);
    },
  };
}

/** What `put` has written for `key`; undefined for anything else. */
function read(key: string, text: string): { readonly shows: Snapshot; readonly listing: Listing } | undefined {
  const written = unsealed<Written>(key, text);
  if (!written) return undefined;
  const { shows, until, doctors, also, bytes } = written;
  const snapshot = parseSnapshot(shows);
  if (!snapshot || !doctors.every((id) => UUID.test(id))) return undefined;
  const listing = {
    bytes: Buffer.from(bytes, 'base64'),
    of: { doctors, also },
    until: until === null ? undefined : new Date(until),
  };
  return { shows: snapshot, listing };
}
