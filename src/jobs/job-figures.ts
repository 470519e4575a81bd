import type { MikroORM } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { forkFor, rows } from '../db/statement.ts';
import { inWorkerSchema } from '../db/worker-schema.ts';
import type { Job } from './job.ts';
import { JOBS } from './jobs.ts';

/** How a job is doing, whichever instance does it. */
export interface JobFigures {
  readonly name: string;
  /** For how long it has been due and is not done, be it waiting, running or failing; 0 when nothing is to do. */
  readonly lagSeconds: number;
  /** Runs that have failed since the last that succeeded. */
  readonly failures: number;
  /** When it was last done; undefined when it never was. */
  readonly succeededAt: Date | undefined;
}

interface Found {
  readonly name: string;
  readonly lag: number;
  readonly failures: number;
  readonly succeeded_at: Date | null;
}

/** The figures of these jobs, in one statement. */
export async function jobFigures(
  orm: MikroORM,
  signal: AbortSignal,
  jobs: readonly Pick<Job, 'name'>[] = JOBS,
): Promise<JobFigures[]> {
  const worker = await inWorkerSchema(orm, signal);
  const found = await rows<Found>(
    forkFor(orm, signal),
    sql`SELECT name, coalesce(failures, 0) AS failures, succeeded_at, coalesce((
          SELECT extract(epoch FROM now() - min(least(created_at, run_at))) FROM ${worker('jobs')}
          WHERE task_identifier = name AND (attempts > 0 OR run_at <= now())), 0)::double precision AS lag
        FROM unnest(${jobs.map(({ name }) => name)}::text[]) WITH ORDINALITY AS known (name, place) LEFT JOIN job USING (name)
        ORDER BY place`,
  );
  return found.map(({ name, lag, failures, succeeded_at }) => ({
    name,
    lagSeconds: Math.max(0, lag),
    failures,
    succeededAt: succeeded_at ?? undefined,
  }));
}
