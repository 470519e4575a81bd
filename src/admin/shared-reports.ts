import type { ListingFeed, Shown } from '../availability/listing-feed.ts';
import { digest, type Shelf, sealed, unsealed } from '../availability/shelf.ts';
import { parseSnapshot, seesAllOf, snapshotText } from '../db/snapshot.ts';
import { FRESH_MS } from './report-cache.ts';

/** Reports that instances share. */
export interface SharedReports {
  /** What the database shows now; undefined while that isn't known. */
  shown(): Shown | undefined;
  /** One that still counts; undefined when there is none. Never rejects. */
  get(key: string): Promise<Uint8Array | undefined>;
  /** Leaves one for others; `shown` is what the database showed before it was read. */
  put(key: string, bytes: Uint8Array, shown: Shown): void;
}

/** Changes when what lies on the shelf does. */
const VERSION = 1;

interface Written {
  readonly shown: string;
  readonly bytes: string;
}

/**
 * Shares reports by way of `shelf`, whose word is not taken for how old they are: each says which moment of the database it
 * shows, and counts only when that isn't before the moment this process has seen there a while ago.
 */
export function shareReports(
  shelf: Shelf,
  feed: Pick<ListingFeed, 'latest' | 'server' | 'shownBefore'>,
): SharedReports {
  const place = (server: string, key: string) => `amrutam:report:${VERSION}:${digest(`${server} ${key}`)}`;
  return {
    shown: feed.latest,
    async get(key) {
      const server = feed.server();
      const text = await shelf.get(place(server, key));
      const written = text === undefined ? undefined : unsealed<Written>(key, text);
      const [shown, oldest] = [parseSnapshot(String(written?.shown)), feed.shownBefore(FRESH_MS)];
      if (!written || !shown || !oldest || feed.server() !== server || !seesAllOf(shown, oldest)) return undefined;
      return Buffer.from(written.bytes, 'base64');
    },
    put(key, bytes, { server, snapshot }) {
      const written: Written = {
        shown: snapshotText(snapshot),
        bytes: Buffer.from(bytes).toString('base64'),
      };
      shelf.put(place(server, key), sealed(key, written), FRESH_MS);
    },
  };
}
