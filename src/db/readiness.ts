import type { MikroORM } from '@mikro-orm/postgresql';
import { migrations } from '../../migrations/index.ts';
import { orAbort } from '../or-abort.ts';
import { sql } from './sql.ts';
import { forkFor, row } from './statement.ts';

/** Whether calls can be answered, and what stands in the way. */
export interface Readiness {
  readonly ready: boolean;
  /** Why not; empty when ready. */
  readonly reasons: readonly string[];
  /** What an operator should see to, though calls are answered. */
  readonly warnings: readonly string[];
}

const TOO_SLOW_MS = 2_000;
const FEWEST_MONTHS = 3;

/** Asks the database, in one round trip: it answers, every migration this build knows is there, and the audit log has room for months. */
export async function checkReadiness(orm: MikroORM): Promise<Readiness> {
  try {
    const signal = AbortSignal.timeout(TOO_SLOW_MS);
    const asked = row<{ applied: string[]; room: boolean }>(
      forkFor(orm, signal),
      sql`SELECT ARRAY(SELECT name FROM mikro_orm_migrations) AS applied,
            to_regclass('audit_event_' || to_char(now() AT TIME ZONE 'UTC' + make_interval(months => ${FEWEST_MONTHS}), 'YYYY_MM')) IS NOT NULL AS room`,
    );
    const found = await orAbort(signal, asked);
    const missing = migrations.map(({ name }) => name).filter((name) => !found?.applied.includes(name));
    if (missing.length) return notReady(`migrations are missing: ${missing.join(', ')}`);
    return { ready: true, reasons: [], warnings: found?.room ? [] : [FEW_PARTITIONS] };
  } catch (error) {
    return notReady(
      (error as { code?: string }).code === NO_TABLE ? 'it was never migrated' : 'the database does not answer',
    );
  }
}

const NO_TABLE = '42P01';
const FEW_PARTITIONS = `the audit log has partitions for less than ${FEWEST_MONTHS} months: run npm run migrate`;

function notReady(reason: string): Readiness {
  return { ready: false, reasons: [reason], warnings: [] };
}

/** Readiness asked of the database at most twice a second, however often it is asked for here. */
export function watchedReadiness(orm: MikroORM): () => Promise<Readiness> {
  const KEPT_MS = 500;
  let last: { readonly at: number; readonly answer: Promise<Readiness> } | undefined;
  return () => {
    if (!last || performance.now() - last.at > KEPT_MS) last = { at: performance.now(), answer: checkReadiness(orm) };
    return last.answer;
  };
}
