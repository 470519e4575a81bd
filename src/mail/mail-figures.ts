import type { MikroORM } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { forkFor, row } from '../db/statement.ts';

/** What waits to be sent, whichever instance sends it. */
export interface MailFigures {
  readonly queued: number;
  /** Since when the oldest of them waits; 0 when none does. */
  readonly oldestSeconds: number;
}

export async function mailFigures(orm: MikroORM, signal: AbortSignal): Promise<MailFigures> {
  const found = await row<{ queued: number; oldest: number }>(
    forkFor(orm, signal),
    sql`SELECT count(*) AS queued, coalesce(extract(epoch FROM now() - min(created_at)), 0)::double precision AS oldest
        FROM mail WHERE state = 'QUEUED'`,
  );
  return { queued: found?.queued ?? 0, oldestSeconds: Math.max(0, found?.oldest ?? 0) };
}
