import type { EntityManager } from '@mikro-orm/postgresql';
import type { Caller } from '../caller.ts';
import { sql } from '../db/sql.ts';
import { row } from '../db/statement.ts';
import { Fault } from '../fault.ts';
import { Slot } from './slot.entity.ts';
import { seesAllOf } from './visibility.ts';

/** One slot that the caller may see: open, future and of an active doctor, or the caller's own. Throws SLOT_NOT_FOUND. */
export async function getSlot(
  em: EntityManager,
  slotId: string,
  { caller, now }: { caller: Caller | undefined; now: Date },
): Promise<Slot> {
  const found = await row<object>(
    em,
    sql`SELECT slot.* FROM slot JOIN doctor ON doctor.user_id = slot.doctor_id
        WHERE slot.id = ${slotId} AND (${seesAllOf(caller, sql`slot.doctor_id`)}
          OR (slot.state = 'OPEN' AND slot.start_at > ${now} AND doctor.state = 'ACTIVE'))`,
  );
  if (!found) throw new Fault('SLOT_NOT_FOUND', 'no such slot');
  return em.map(Slot, found);
}
