import type { MikroORM } from '@mikro-orm/postgresql';
import { parseSnapshot, type Snapshot, snapshotText } from '../db/snapshot.ts';
import { sql } from '../db/sql.ts';
import { forkFor, row, rows } from '../db/statement.ts';
import { orAbort } from '../or-abort.ts';
import { KEPT_MS, type ListingHistory } from './listing-history.ts';

/** A moment of one clinic in one run of one database server: another's says nothing about it, not even when it was restored from the same backup. */
export interface Shown {
  readonly server: string;
  readonly snapshot: Snapshot;
}

/** Keeps a history true that other processes change too. */
export interface ListingFeed {
  /** When the database was last asked, as performance.now() has it: what was committed by then is in the history. */
  asOf(): number;
  /** What the database showed then. Undefined while it has not been asked. */
  latest(): Shown | undefined;
  /** Everything changed after it is in the history. */
  earliest(): Snapshot | undefined;
  /**
   * What the database showed once, `ms` milliseconds ago or up to STEP_MS longer, or later where it wasn't asked so long ago. Undefined while
   * it can't be asked.
   */
  shownBefore(ms: number): Snapshot | undefined;
  /** Tells one run of one database server from every other, and clinics in it from each other. Empty while it has not been asked. */
  server(): string;
  stop(): void;
}

/** Milliseconds between two questions. */
const EVERY_MS = 200;
/** Milliseconds for an answer. */
const PATIENCE_MS = 2_000;
/** Milliseconds between two moments that are remembered. */
const STEP_MS = 10_000;
/** After which who has not asked again takes everything as changed, and, somewhat later, changes are deleted. */
const MISSED_MS = KEPT_MS / 2;
const DELETED_MS = KEPT_MS * 0.75;
/** Deleted at once at most: three times what a fast machine books in STEP_MS. */
const BATCH = 50_000;

interface Answer {
  readonly snapshot: string;
  readonly server: string;
  readonly changes: readonly (readonly [xid: string, doctorId: string, profile: boolean])[];
}

interface Moment {
  readonly at: number;
  readonly snapshot: Snapshot;
}

/** Asks the database five times a second whose listings have changed, beside the line that calls wait in. */
export function followListings(orm: MikroORM, history: ListingHistory): ListingFeed {
  let server = '';
  let last: Moment | undefined;
  /** Moments of the last minute, the oldest first. */
  let moments: readonly Moment[] = [];
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  async function ask(): Promise<void> {
    const at = performance.now();
    const { snapshot: text, changes, server: asked } = await changesAfter(orm, last?.snapshot);
    const snapshot = parseSnapshot(text);
    if (!snapshot) throw new Error(`no snapshot: ${text}`);
    // Another server, or one that was asked so long ago that what it told since may be gone again.
    if (asked !== server || !last || at - last.at > MISSED_MS) {
      [server, moments] = [asked, []];
      history.missed();
    }
    for (const [xid, doctorId, profile] of changes) history.hear([{ doctorId, profile }], BigInt(xid));
    last = { at, snapshot };
    const [newest, oldest] = [moments.at(-1), moments[0]];
    if (newest && at - newest.at <= STEP_MS) return;
    moments = [...moments.filter((moment) => at - moment.at < KEPT_MS), last];
    // Never what others may not have heard yet.
    if (oldest && at - oldest.at > DELETED_MS) await deleteBefore(orm, oldest.snapshot);
  }
  const round = () =>
    void ask()
      .catch(() => {}) // then nothing is known of what was committed since, and `asOf` says so
      .finally(() => {
        if (!stopped) timer = setTimeout(round, EVERY_MS).unref();
      });
  round();
  return {
    asOf: () => last?.at ?? Number.NEGATIVE_INFINITY,
    latest: () => last && { server, snapshot: last.snapshot },
    earliest: () => moments[0]?.snapshot,
    shownBefore(ms) {
      const now = performance.now();
      if (!last || now - last.at > PATIENCE_MS) return undefined;
      return (moments.findLast(({ at }) => now - at >= ms) ?? moments[0])?.snapshot;
    },
    server: () => server,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

async function changesAfter(orm: MikroORM, last: Snapshot | undefined): Promise<Answer> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const before = last && snapshotText(last);
  const answer = await orAbort(
    signal,
    row<Answer>(
      forkFor(orm, signal),
      sql`SELECT pg_current_snapshot()::text AS snapshot, concat_ws(' ', pg_postmaster_start_time(), current_database(), current_schema()) AS server,
            coalesce((SELECT jsonb_agg(jsonb_build_array(xid::text, doctor_id, profile)) FROM listing_change
              WHERE xid >= pg_snapshot_xmin(${before}::pg_snapshot) AND NOT pg_visible_in_snapshot(xid, ${before}::pg_snapshot)), '[]') AS changes`,
    ),
  );
  return answer as Answer;
}

/** Deletes what everybody has heard who asks often enough. */
async function deleteBefore(orm: MikroORM, { xmin }: Snapshot): Promise<void> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  await rows(
    forkFor(orm, signal),
    sql`DELETE FROM listing_change WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM listing_change WHERE xid < ${String(xmin)}::xid8 LIMIT ${BATCH} FOR UPDATE SKIP LOCKED))`,
  );
}
