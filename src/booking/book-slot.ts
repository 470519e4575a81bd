import { Slot } from '../availability/slot.entity.ts';
import { sql } from '../db/sql.ts';
import { lockRows, readRows, type Work } from '../db/work.ts';
import type { Fault } from '../fault.ts';
import { activeDoctor } from './active-doctor.ts';
import { Booking } from './booking.entity.ts';
import type { NamedBooking } from './lock-booking.ts';
import { alreadyTaken, patientBusy, patientIsBusy, slotInPast, whyNotOpen, whyTaken } from './slot-refusals.ts';

/** What BookSlot asks for. */
export interface BookSlot {
  readonly slotId: string;
  readonly patientId: string;
  readonly reasonForVisit: string;
}

/**
 * Books an open, future slot of an active doctor. Throws SLOT_NOT_FOUND, SLOT_IN_PAST, SLOT_TAKEN, PATIENT_BUSY.
 *
 * The locking read asks for an open slot, so that the losers of a crowd are answered without queueing for it.
 */
export async function bookSlot(work: Work, { slotId, patientId, reasonForVisit }: BookSlot): Promise<NamedBooking> {
  work.about({ entityType: 'slot', entityId: slotId, patientId });
  const {
    slots: [slot],
    names: [doctor],
    taken: [taken],
    now,
    callerName,
  } = await work.lock({
    doctors: activeDoctor(sql`(SELECT doctor_id FROM slot WHERE id = ${slotId} AND state = 'OPEN')`),
    slots: lockRows(
      Slot,
      () =>
        sql`SELECT * FROM slot WHERE id = ${slotId} AND state = 'OPEN' AND doctor_id = (SELECT user_id FROM doctors) FOR UPDATE`,
    ),
    names: readRows<{ name: string }>(
      () => sql`SELECT display_name AS name FROM app_user JOIN slots ON app_user.id = slots.doctor_id`,
    ),
    taken: work.crowded ? alreadyTaken(slotId) : undefined,
  });
  if (!slot || !doctor) throw whyTaken(work.em, taken, now) ?? (await whyNotOpen(work.em, slotId, { now }));
  if (slot.hasBegun(now)) throw slotInPast();

  const booking = Booking.confirm(slot, { patientId, reasonForVisit, now });
  work.contest(booking, () => whyContestLost(work, booking, now));
  slot.book(now);
  work.about({ entityType: 'booking', entityId: booking.id });
  return { booking, doctorDisplayName: doctor.name, patientDisplayName: callerName };
}

/**
 * One of the two constraints found the booking's place taken; which one is read afresh. Neither, by now, when the patient's
 * other booking has just been cancelled: then the slot is still open, and this begins again.
 */
async function whyContestLost({ em, about }: Work, booking: Booking, now: Date): Promise<Fault> {
  about({ entityType: 'slot', entityId: booking.slotId });
  if (await patientIsBusy(em, booking)) return patientBusy();
  return whyNotOpen(em, booking.slotId, { now });
}
