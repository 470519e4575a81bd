import type { MikroORM } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { forkFor, rows } from '../db/statement.ts';
import { inWorkerSchema } from '../db/worker-schema.ts';

const PATIENCE_MS = 5_000;

/**
 * Has the schedule go on from now where it is ahead of the database's clock. An instance whose own clock was ahead has written
 * down then that jobs were due, and until that time comes graphile-worker would take none for due again.
 */
export async function forgetFuture(orm: MikroORM): Promise<void> {
  const worker = await inWorkerSchema(orm);
  await rows(
    forkFor(orm, AbortSignal.timeout(PATIENCE_MS)),
    sql`UPDATE ${worker('_private_known_crontabs')} SET last_execution = now()
        WHERE last_execution > now() + interval '5 minutes'`,
  );
}
