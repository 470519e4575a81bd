import type { EntityManager } from '@mikro-orm/postgresql';
import type { Caller } from '../caller.ts';
import { sql } from '../db/sql.ts';
import { allOf, rows } from '../db/statement.ts';
import { Fault } from '../fault.ts';
import { type Page, type PageAsk, pageOf } from '../page.ts';
import { Slot, type SlotState } from './slot.entity.ts';
import { seesAllOf } from './visibility.ts';

/** What ListSlots asks for. */
export interface SlotListing {
  readonly doctorId: string;
  /** Absent: now. */
  readonly from?: Date | undefined;
  readonly until?: Date | undefined;
  /** Empty: all that the caller may see. */
  readonly states: readonly SlotState[];
}

/** Place in the listing: start (ISO 8601) and id. */
export type SlotCursor = readonly [startAt: string, id: string];

/** A doctor's slots by start time, as far as the caller may see them. Throws DOCTOR_NOT_FOUND. One statement. */
export async function listSlots(
  em: EntityManager,
  { doctorId, from, until, states }: SlotListing,
  { page, caller, now }: { page: PageAsk<SlotCursor>; caller: Caller | undefined; now: Date },
): Promise<Page<Slot, SlotCursor>> {
  const all = seesAllOf(caller, sql`${doctorId}::uuid`);
  const found = await rows<{ id: string | null }>(
    em,
    sql`SELECT s.* FROM doctor LEFT JOIN LATERAL (
          SELECT * FROM slot WHERE ${allOf([
            sql`slot.doctor_id = doctor.user_id`,
            sql`slot.start_at >= ${from ?? now}`,
            until && sql`slot.start_at < ${until}`,
            states.length > 0 && sql`slot.state = ANY (${states})`,
            sql`(${all} OR (slot.state = 'OPEN' AND slot.start_at > ${now}))`,
            page.after && sql`(slot.start_at, slot.id) > (${sql.join(page.after)})`,
          ])} ORDER BY slot.start_at, slot.id LIMIT ${page.size + 1}) s ON TRUE
        WHERE doctor.user_id = ${doctorId} AND (doctor.state = 'ACTIVE' OR ${all})
        ORDER BY s.start_at, s.id`,
  );
  if (!found.length) throw new Fault('DOCTOR_NOT_FOUND', 'no such doctor');
  const slots = found.filter(({ id }) => id !== null).map((data) => em.map(Slot, data));
  return pageOf(slots, page.size, ({ startAt, id }): SlotCursor => [startAt.toISOString(), id]);
}
