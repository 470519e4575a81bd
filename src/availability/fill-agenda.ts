import { randomUUIDv7 as uuid } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { row, rows } from '../db/statement.ts';
import { knownSlots } from './known-slots.ts';
import { loadOffers } from './load-offers.ts';
import { horizon, nextDay, type OfferedSlot, type Offers, offeredSlots } from './offered-slots.ts';
import { type KnownSlot, planSlots, type SlotPlan } from './plan-slots.ts';
import type { SlotState } from './slot.entity.ts';

/** Whose slots are to be brought up to date, by one who has locked the doctor's user row. */
export interface Filling {
  readonly doctorId: string;
  /** Whether the doctor is active: others get no slots, but lose those that fit no more. */
  readonly active: boolean;
  readonly now: Date;
  /** Slots made at the most, the next ones first. */
  readonly most: number;
}

/** What that has done. */
export interface Filled {
  readonly made: number;
  readonly moreToCome: boolean;
  readonly withdrawn: number;
  /** Booked slots ahead that schedules have made and would make no more. */
  readonly bookedOutside: number;
  /** When there is more to do; null: not before schedules change or the doctor is approved. */
  readonly dueAt: Date | null;
}

/**
 * Makes the slots that a doctor's schedules ask for and takes open ones back that they ask for no more. Done again it changes nothing.
 * Slots that are sold meanwhile stay: each is taken back under its lock, and only while it is open. What tells listings of it is the
 * caller's to write.
 */
export async function fillAgenda(em: EntityManager, filling: Filling): Promise<Filled> {
  const { doctorId, active, now, most } = filling;
  const offers = await loadOffers(em, doctorId);
  const known = await knownSlots(em, doctorId, { from: now, until: undefined });
  const plan = planSlots(
    offeredSlots(offers, (offer) => horizon(offer, now)),
    known,
    now,
  );
  const { withdrawn, bookedOutside } = await retract(em, plan, now);
  const wanted = active ? plan.make.slice(0, most) : [];
  const made = await make(em, wanted, filling);
  const moreToCome = active && wanted.length < plan.make.length;
  return {
    made,
    moreToCome,
    withdrawn,
    bookedOutside,
    // Where none could be made after all, trying again at once would be in vain.
    dueAt: moreToCome && made > 0 ? now : nextDue(offers, active, now),
  };
}

function nextDue({ schedules }: Offers, active: boolean, now: Date): Date | null {
  return active ? nextDay(schedules, now) : null;
}

/**
 * Takes those back that are open still, marks those that are sold - they are withdrawn when their patients give them back - and takes the
 * marks off those that are asked for again. All are locked first, in the order of their ids, as everybody locks slots.
 */
async function retract(
  em: EntityManager,
  { withdraw, outside, back }: SlotPlan,
  now: Date,
): Promise<Pick<Filled, 'withdrawn' | 'bookedOutside'>> {
  const ids = (slots: readonly KnownSlot[]) => slots.map(({ id }) => id);
  const marked = outside.filter(({ retracted }) => retracted);
  const [gone, again] = [ids([...withdraw, ...outside.filter(({ retracted }) => !retracted)]), ids(back)];
  if (gone.length + again.length === 0) return { withdrawn: 0, bookedOutside: marked.length };
  await row(
    em,
    sql`SELECT count(*) FROM (
          SELECT FROM slot WHERE id = ANY (${[...gone, ...again]}::uuid[]) AND live ORDER BY id FOR UPDATE) locked`,
  );
  const changed = await rows<{ state: SlotState }>(
    em,
    sql`UPDATE slot SET retracted_at = ${now}, updated_at = ${now},
          state = CASE state WHEN 'OPEN' THEN 'WITHDRAWN' ELSE state END
        WHERE id = ANY (${gone}::uuid[]) AND live RETURNING state`,
  );
  if (again.length)
    await rows(
      em,
      sql`UPDATE slot SET retracted_at = NULL, updated_at = ${now} WHERE id = ANY (${again}::uuid[]) AND live`,
    );
  const withdrawn = changed.filter(({ state }) => state === 'WITHDRAWN').length;
  return { withdrawn, bookedOutside: marked.length + changed.length - withdrawn };
}

/** Answers how many were made: what is in the way after all is passed over. */
async function make(em: EntityManager, slots: readonly OfferedSlot[], { doctorId, now }: Filling): Promise<number> {
  if (!slots.length) return 0;
  const made = await rows(
    em,
    sql`INSERT INTO slot (id, doctor_id, start_at, end_at, state, schedule_id, created_at, updated_at)
        SELECT id, ${doctorId}::uuid, start_at, end_at, 'OPEN', schedule_id, ${now}::timestamptz, ${now}::timestamptz
        FROM unnest(${slots.map(() => uuid())}::uuid[], ${slots.map(({ start }) => new Date(start))}::timestamptz[],
          ${slots.map(({ end }) => new Date(end))}::timestamptz[], ${slots.map(({ offer }) => offer.id)}::uuid[])
          AS made (id, start_at, end_at, schedule_id)
        ON CONFLICT DO NOTHING RETURNING 1`,
  );
  return made.length;
}
