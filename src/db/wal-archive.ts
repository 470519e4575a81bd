import type { MikroORM } from '@mikro-orm/postgresql';
import { seldom } from './seldom.ts';
import { sql } from './sql.ts';
import { forkFor, row } from './statement.ts';

/** How the database's server gets on with archiving its log, of which a restore to the last minute is made. */
export interface WalArchive {
  /** When it has last archived something; undefined: never. */
  readonly archivedAt: Date | undefined;
  /** When that has last failed; undefined: never. */
  readonly failedAt: Date | undefined;
  /** Bytes of the log after what is archived; undefined where that isn't known, as after a start. */
  readonly waitingBytes: number | undefined;
}

/** Undefined where nothing is to be archived. Any role may ask. */
export async function walArchive(orm: MikroORM, signal: AbortSignal): Promise<WalArchive | undefined> {
  const found = await row<{ archived_at: Date | null; failed_at: Date | null; waiting: number | null }>(
    forkFor(orm, signal),
    // The name of a file is its timeline, and in two parts its place; those of backups and timelines have others.
    sql`SELECT last_archived_time AS archived_at, last_failed_time AS failed_at,
          CASE WHEN last_archived_wal ~ '^[0-9A-F]{24}$' AND NOT pg_is_in_recovery() THEN greatest(0,
            pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')
            - ('x' || substr(last_archived_wal, 9, 8))::bit(32)::bigint::numeric * 4294967296
            - (('x' || substr(last_archived_wal, 17, 8))::bit(32)::bigint + 1) * pg_size_bytes(current_setting('wal_segment_size'))
          )::double precision END AS waiting
        FROM pg_stat_archiver WHERE current_setting('archive_mode') <> 'off'`,
  );
  if (!found) return undefined;
  return {
    archivedAt: found.archived_at ?? undefined,
    failedAt: found.failed_at ?? undefined,
    waitingBytes: found.waiting ?? undefined,
  };
}

/** The same, asked of the database at most every five seconds; undefined also without an answer in time. */
export function watchedArchive(orm: MikroORM): () => Promise<WalArchive | undefined> {
  return seldom<WalArchive | undefined>((signal) => walArchive(orm, signal), undefined);
}
