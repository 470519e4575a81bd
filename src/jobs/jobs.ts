import { fillAgendas, MAKING } from '../availability/fill-agendas.ts';
import { sql } from '../db/sql.ts';
import { row } from '../db/statement.ts';
import type { Job } from './job.ts';
import { purge } from './purge.ts';

const HOUR_MS = 3_600_000;
/** Months of audit partitions kept ahead. */
const MONTHS_AHEAD = 24;

/** What is done again and again, whatever is configured. */
export const JOBS: readonly Job[] = [
  {
    name: 'purge-answers',
    schedule: '7 * * * *',
    overdueMs: HOUR_MS,
    run: purge('idempotency', sql`created_at < now() - interval '7 days'`),
  },
  {
    // Those where only wrong passwords came from make nobody wait after a day.
    name: 'purge-sign-in-places',
    schedule: '17 * * * *',
    overdueMs: HOUR_MS,
    run: purge(
      'sign_in_place',
      sql`seen_at < now() - CASE WHEN signed_in_at IS NULL THEN interval '1 day' ELSE interval '180 days' END`,
    ),
  },
  {
    // Kept for a while, for questions.
    name: 'purge-sessions',
    schedule: '27 * * * *',
    overdueMs: HOUR_MS,
    run: purge('session', sql`least(expires_at, coalesce(revoked_at, expires_at)) < now() - interval '30 days'`),
  },
  {
    // Those of reminders show for as long that there was one. Their tokens go with them.
    name: 'purge-mails',
    schedule: '47 * * * *',
    overdueMs: HOUR_MS,
    run: purge('mail', sql`created_at < now() - interval '30 days'`),
  },
  {
    name: 'extend-audit-log',
    schedule: '37 2 * * *',
    overdueMs: 24 * HOUR_MS,
    run: (step) =>
      step(async (em) => {
        const made = await row<{ count: number }>(em, sql`SELECT ensure_audit_partitions(${MONTHS_AHEAD}) AS count`);
        return made?.count ?? 0;
      }),
  },
  {
    // A day of slots more at midnight in each doctor's zone, and what was too much for the call that asked for it.
    name: MAKING,
    schedule: '*/5 * * * *',
    overdueMs: HOUR_MS,
    run: (step) => fillAgendas(step),
  },
];
