import type { MikroORM } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { forkFor, rows } from '../db/statement.ts';
import { inWorkerSchema } from '../db/worker-schema.ts';
import { isOver } from './lease.ts';

/** Milliseconds for each statement. */
const PATIENCE_MS = 5_000;

/**
 * Gives jobs of runs that show no sign of life back to the queue: graphile-worker would wait four hours. Deletes those that were
 * given up because the next one of the same job came meanwhile. Jobs that are not ours stay as they are.
 */
export async function freeAbandoned(orm: MikroORM, leaseMs: number): Promise<void> {
  const worker = await inWorkerSchema(orm);
  const em = () => forkFor(orm, AbortSignal.timeout(PATIENCE_MS));
  await rows(
    em(),
    sql`SELECT ${worker('force_unlock_workers')}(array_agg(DISTINCT locked_by))
        FROM ${worker('jobs')} JOIN job ON name = task_identifier
        WHERE locked_at < now() - ${leaseMs} * interval '1 millisecond' AND (holder IS NULL OR ${isOver(leaseMs)})
        HAVING count(*) > 0`,
  );
  await rows(
    em(),
    sql`SELECT ${worker('complete_jobs')}(array_agg(id)) FROM ${worker('jobs')} JOIN job ON name = task_identifier
        WHERE key IS NULL AND attempts >= max_attempts AND locked_at IS NULL HAVING count(*) > 0`,
  );
}
