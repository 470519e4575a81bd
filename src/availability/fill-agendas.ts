import type { EntityManager } from '@mikro-orm/postgresql';
import { queueJob } from '../db/queue-job.ts';
import { sql } from '../db/sql.ts';
import { row, rows } from '../db/statement.ts';
import { fillAgenda } from './fill-agenda.ts';

/** Does a part of the work in a transaction of its own. */
type Step = <T>(work: (em: EntityManager) => Promise<T>) => Promise<T>;

/** The background job that does this. */
export const MAKING = 'make-slots';
/** Slots made in one transaction. */
const BATCH = 2_000;
/** Milliseconds of work after which other jobs of the instance get their turn; then this one goes on. */
const TURN_MS = 20_000;

/**
 * Brings the slots of each doctor up to date for whom that is due, one doctor a transaction. Doctors who are changing something at this
 * moment come next time. One for whom it fails keeps nobody else waiting, nor uses up the turn; the first such error is thrown in the end. Answers
 * how many slots were made and taken back.
 */
export async function fillAgendas(step: Step, turnMs = TURN_MS): Promise<number> {
  const left: string[] = [];
  const errors: unknown[] = [];
  for (let changed = 0, workedMs = 0; ; ) {
    const startedAt = performance.now();
    let doctorId: string | undefined;
    try {
      const done = await step(async (em) => {
        doctorId = await nextDue(em, left);
        return doctorId === undefined ? undefined : fillOne(em, doctorId);
      });
      workedMs += performance.now() - startedAt;
      changed += done ?? 0;
      if (doctorId !== undefined && done === undefined) left.push(doctorId);
    } catch (error) {
      if (doctorId === undefined) throw error;
      left.push(doctorId);
      errors.push(error);
      continue;
    }
    if (doctorId !== undefined && workedMs <= turnMs) continue;
    if (errors.length) throw errors[0]; // the job is tried again soon, then
    if (doctorId !== undefined) await step((em) => queueJob(em, MAKING));
    return changed;
  }
}

async function nextDue(em: EntityManager, left: readonly string[]): Promise<string | undefined> {
  const due = await row<{ doctor_id: string }>(
    em,
    sql`SELECT doctor_id FROM agenda WHERE due_at <= now() AND NOT doctor_id = ANY (${left}::uuid[])
        ORDER BY due_at, doctor_id LIMIT 1`,
  );
  return due?.doctor_id;
}

/** How many slots were made and taken back; undefined when the doctor's user row is in use. */
async function fillOne(em: EntityManager, doctorId: string): Promise<number | undefined> {
  const locked = await row(em, sql`SELECT FROM app_user WHERE id = ${doctorId} FOR NO KEY UPDATE SKIP LOCKED`);
  if (!locked) return undefined;
  const doctor = await row<{ state: string; now: Date }>(
    em,
    sql`SELECT state, clock_timestamp() AS now FROM doctor WHERE user_id = ${doctorId} FOR SHARE`,
  );
  if (!doctor) return undefined;
  const { now, state } = doctor;
  const { made, withdrawn, dueAt } = await fillAgenda(em, { doctorId, active: state === 'ACTIVE', now, most: BATCH });
  await rows(
    em,
    sql`WITH filled AS (UPDATE agenda SET due_at = ${dueAt}, filled_at = ${now} WHERE doctor_id = ${doctorId})
        INSERT INTO listing_change (xid, doctor_id, profile)
        SELECT pg_current_xact_id(), ${doctorId}, FALSE WHERE ${made + withdrawn > 0}`,
  );
  return made + withdrawn;
}
