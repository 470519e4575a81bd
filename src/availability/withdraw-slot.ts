import { sql } from '../db/sql.ts';
import { lockRows, type Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { Slot } from './slot.entity.ts';

/** What WithdrawSlot asks for. */
export interface WithdrawSlot {
  readonly slotId: string;
  readonly doctorId: string;
}

/** Takes an open slot of the doctor back. Throws SLOT_NOT_FOUND, SLOT_NOT_OPEN. */
export async function withdrawSlot(work: Work, { slotId, doctorId }: WithdrawSlot): Promise<Slot> {
  work.about({ entityType: 'slot', entityId: slotId });
  const {
    slots: [slot],
    now,
  } = await work.lock({
    slots: lockRows(
      Slot,
      (held) => sql`SELECT * FROM slot WHERE id = ${slotId} AND doctor_id = ${doctorId} AND ${held} FOR UPDATE`,
    ),
  });
  if (!slot) throw new Fault('SLOT_NOT_FOUND', 'no such slot');
  if (slot.state !== 'OPEN') throw slot.notOpen();
  slot.withdraw(now);
  return slot;
}
