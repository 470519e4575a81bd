import type { MikroORM } from '@mikro-orm/postgresql';
import { orAbort } from '../or-abort.ts';
import { sql } from './sql.ts';
import { forkFor, row } from './statement.ts';

/** How the queue of background jobs is getting on. */
export interface JobLag {
  /** For how long the oldest has been due and is not done, be it waiting, running or failing. 0 when nothing is to do. */
  readonly lagSeconds: number;
  /** Jobs that are due and not done. */
  readonly due: number;
  /** Jobs that have failed as often as they may. */
  readonly givenUp: number;
}

const TOO_SLOW_MS = 1_000;
/** Asked at most so often, whoever looks. */
const KEPT_MS = 5_000;
/** One that has failed is put off, and is due all the same. */
const DUE = sql`attempts < max_attempts AND (attempts > 0 OR run_at <= now())`;

/** Asks the database; undefined where there is no queue, or no answer in time. */
export async function jobLag(orm: MikroORM): Promise<JobLag | undefined> {
  const signal = AbortSignal.timeout(TOO_SLOW_MS);
  const ask = async () => {
    const em = forkFor(orm, signal);
    const queue = await row<{ there: boolean }>(
      em,
      sql`SELECT to_regclass('graphile_worker.jobs') IS NOT NULL AS there`,
    );
    if (!queue?.there) return undefined;
    return row<JobLag>(
      em,
      sql`SELECT count(*) FILTER (WHERE ${DUE})::int AS "due",
            count(*) FILTER (WHERE attempts >= max_attempts)::int AS "givenUp",
            coalesce(extract(epoch FROM now() - min(least(created_at, run_at)) FILTER (WHERE ${DUE})), 0)::float8 AS "lagSeconds"
          FROM graphile_worker.jobs`,
    );
  };
  return orAbort(signal, ask()).catch(() => undefined);
}

/** The same, asked of the database at most every five seconds. */
export function watchedJobLag(orm: MikroORM): () => Promise<JobLag | undefined> {
  let last: { readonly at: number; readonly answer: Promise<JobLag | undefined> } | undefined;
  return () => {
    if (!last || performance.now() - last.at > KEPT_MS) last = { at: performance.now(), answer: jobLag(orm) };
    return last.answer;
  };
}
