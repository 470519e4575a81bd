import { Slot } from '../availability/slot.entity.ts';
import type { Caller } from '../caller.ts';
import { sql } from '../db/sql.ts';
import { StartOver } from '../db/transaction.ts';
import { type Lock, lockRows, readRows, type Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { Booking } from './booking.entity.ts';
import { ownedBy } from './ownership.ts';

/** A booking with the names that its message shows. */
export interface NamedBooking {
  readonly booking: Booking;
  readonly doctorDisplayName: string;
  readonly patientDisplayName: string;
}

/** A booking of the caller, locked, at the database's time `now`. */
export interface LockedBooking extends NamedBooking {
  readonly now: Date;
}

interface Names {
  readonly doctor: string;
  readonly patient: string;
}

/** The lock on a booking of the caller; later locks find it as `bookings`. */
export function bookingLock(bookingId: string, caller: Caller): Lock<Booking> {
  return lockRows(
    Booking,
    (held) => sql`SELECT * FROM booking WHERE id = ${bookingId} AND ${ownedBy(caller)} AND ${held} FOR UPDATE`,
  );
}

/** The display names of both sides of the locked `bookings`. */
export const bookingNames: Lock<Names> = readRows<Names>(
  () => sql`SELECT d.display_name AS doctor, p.display_name AS patient
    FROM bookings JOIN app_user d ON d.id = bookings.doctor_id JOIN app_user p ON p.id = bookings.patient_id`,
);

/** Locks a booking of the caller. Throws BOOKING_NOT_FOUND. */
export async function lockBooking(work: Work, bookingId: string): Promise<LockedBooking> {
  const bookings = bookingLock(bookingId, aboutBooking(work, bookingId));
  const {
    bookings: [booking],
    names: [names],
    now,
  } = await work.lock({ bookings, names: bookingNames });
  return { ...foundBooking(work, booking, names), now };
}

/** Locks a booking of the caller, and the slot that it holds. Throws BOOKING_NOT_FOUND. */
export async function lockBookingWithSlot(
  work: Work,
  bookingId: string,
): Promise<LockedBooking & { readonly slot: Slot }> {
  const {
    bookings: [booking],
    slots: [slot],
    names: [names],
    now,
  } = await work.lock({
    bookings: bookingLock(bookingId, aboutBooking(work, bookingId)),
    slots: lockRows(
      Slot,
      () => sql`SELECT * FROM slot WHERE id = ANY (ARRAY(SELECT slot_id FROM bookings)) FOR UPDATE`,
    ),
    names: bookingNames,
  });
  const found = foundBooking(work, booking, names);
  // Moved, while this waited for it, to a slot that was published after this statement began.
  if (!slot) throw new StartOver('the slot was not there yet');
  return { ...found, slot, now };
}

/** Says that the work is about this booking, and answers who does it. */
export function aboutBooking(work: Work, bookingId: string): Caller {
  work.about({ entityType: 'booking', entityId: bookingId });
  return work.call.caller as Caller;
}

/** The locked booking; BOOKING_NOT_FOUND when the lock found none that is the caller's. */
export function foundBooking(work: Work, booking: Booking | undefined, names: Names | undefined): NamedBooking {
  if (!booking || !names) throw new Fault('BOOKING_NOT_FOUND', 'no such booking');
  work.about({ patientId: booking.patientId });
  return { booking, doctorDisplayName: names.doctor, patientDisplayName: names.patient };
}
