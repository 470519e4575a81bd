import { Slot } from '../availability/slot.entity.ts';
import { sql } from '../db/sql.ts';
import { StartOver } from '../db/transaction.ts';
import { lockRows, type Work } from '../db/work.ts';
import { activeDoctor } from './active-doctor.ts';
import { aboutBooking, bookingLock, bookingNames, foundBooking, type NamedBooking } from './lock-booking.ts';
import { patientBusy, patientIsBusy, slotInPast, whyNotOpen } from './slot-refusals.ts';

/** What RescheduleBooking asks for. */
export interface RescheduleBooking {
  readonly bookingId: string;
  readonly newSlotId: string;
}

/**
 * Moves the caller's confirmed booking, before its start, to another open slot of the same doctor and gives the old slot
 * back; or changes nothing. Throws BOOKING_NOT_FOUND, BOOKING_STATE, TOO_LATE, SLOT_NOT_FOUND, SLOT_TAKEN, SLOT_IN_PAST,
 * PATIENT_BUSY.
 */
export async function rescheduleBooking(
  work: Work,
  { bookingId, newSlotId }: RescheduleBooking,
): Promise<NamedBooking> {
  const { bookings, slots, names, now } = await work.lock({
    bookings: bookingLock(bookingId, aboutBooking(work, bookingId)),
    doctors: activeDoctor(sql`(SELECT doctor_id FROM bookings)`),
    slots: lockRows(Slot, () => bothSlots(newSlotId)),
    names: bookingNames,
  });
  const found = foundBooking(work, bookings[0], names[0]);
  const { booking } = found;
  booking.mayMove(now);
  const oldSlot = slots.find(({ id }) => id === booking.slotId);
  const newSlot = slots.find(({ id }) => id === newSlotId);
  const why = { now, doctorId: booking.doctorId };
  if (newSlotId === booking.slotId) throw await whyNotOpen(work.em, newSlotId, why);
  if (!oldSlot) throw new StartOver('the slot held was not there yet');
  if (!newSlot) throw await whyNotOpen(work.em, newSlotId, why);
  if (newSlot.hasBegun(now)) throw slotInPast();
  if (await patientIsBusy(work.em, { ...newSlot, id: booking.id, patientId: booking.patientId })) throw patientBusy();

  booking.moveTo(newSlot, now);
  newSlot.book(now);
  oldSlot.release(now);
  return found;
}

/** The slot held and, when it is open and its doctor the same and active, the slot wanted; locked in the order of their ids. */
function bothSlots(newSlotId: string) {
  return sql`SELECT * FROM slot
    WHERE id = ANY (ARRAY(SELECT slot_id FROM bookings) || ${newSlotId}::uuid) AND EXISTS (SELECT FROM bookings)
      AND (id <> ${newSlotId} OR (state = 'OPEN' AND doctor_id = (SELECT user_id FROM doctors)))
    ORDER BY id FOR UPDATE`;
}
