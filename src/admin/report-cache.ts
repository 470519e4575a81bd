import { LRUCache } from 'lru-cache';
import type { Found } from '../availability/listing-cache.ts';
import { orAbort } from '../or-abort.ts';
import type { SharedReports } from './shared-reports.ts';

/** Reports, each read once for all who ask for the same within a while. */
export interface ReportCache {
  /** The report kept under `key`, else what `read` reads, for as long as anybody waits for it. */
  answer(key: string, read: (signal: AbortSignal) => Promise<Uint8Array>, signal: AbortSignal): Promise<Uint8Array>;
}

export interface ReportCacheOptions {
  /** Absent: each process keeps its own. */
  readonly shared?: SharedReports | undefined;
  /** Hears of each answer. */
  readonly count?: ((found: Found) => void) | undefined;
  /** Milliseconds that only go up. */
  readonly clock?: () => number;
}

/** Milliseconds for which a report counts, from when it began to be read. */
export const FRESH_MS = 10_000;
/** Bytes of all reports together, and of what is kept beside each. */
const LARGEST = 8 * 1024 * 1024;
const BESIDE = 500;

interface Kept {
  readonly bytes: Uint8Array;
  readonly since: number;
}

interface Reading {
  readonly since: number;
  readonly answer: Promise<Uint8Array>;
  readonly controller: AbortController;
  waiting: number;
}

/**
 * Reports read every booking of their range, so they are not read for each who asks. What counts in them changes with every
 * booking, so they are kept for a time and not until something changes: then nothing would be kept.
 */
export function createReportCache({
  shared,
  count = () => {},
  clock = () => performance.now(),
}: ReportCacheOptions): ReportCache {
  const kept = new LRUCache<string, Kept>({
    maxSize: LARGEST,
    sizeCalculation: ({ bytes }, key) => bytes.length + 2 * key.length + BESIDE,
  });
  const reading = new Map<string, Reading>();
  const isFresh = (since: number) => clock() - since < FRESH_MS;

  async function readAfresh(key: string, since: number, read: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const shown = shared?.shown();
    // Not kept here: nobody knows how old it is, but that it counts now.
    const given = await shared?.get(key);
    count(given ? 'shared' : 'database');
    if (given) return given;
    const bytes = await read();
    kept.set(key, { bytes, since });
    if (shown) shared?.put(key, bytes, shown);
    return bytes;
  }
  function begin(key: string, read: (signal: AbortSignal) => Promise<Uint8Array>): Reading {
    const controller = new AbortController();
    const since = clock();
    const answer = readAfresh(key, since, () => read(controller.signal));
    const begun = { since, answer, controller, waiting: 0 };
    reading.set(key, begun);
    return begun;
  }
  return {
    async answer(key, read, signal) {
      const found = kept.get(key);
      if (found && isFresh(found.since)) {
        count('memory');
        return found.bytes;
      }
      const underWay = reading.get(key);
      const fresh = underWay && isFresh(underWay.since);
      if (fresh) count('underway');
      const joined = fresh ? underWay : begin(key, read);
      joined.waiting += 1;
      try {
        return await orAbort(signal, joined.answer);
      } finally {
        joined.waiting -= 1;
        if (joined.waiting === 0) {
          if (reading.get(key) === joined) reading.delete(key);
          joined.controller.abort(signal.reason);
        }
      }
    },
  };
}
