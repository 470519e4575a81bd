import type { Work } from '../db/work.ts';
import { lockBooking, type NamedBooking } from './lock-booking.ts';

/** The patient is there: from 15 minutes before the start until the end. Throws BOOKING_NOT_FOUND, BOOKING_STATE, TOO_EARLY, TOO_LATE. */
export async function checkIn(work: Work, bookingId: string): Promise<NamedBooking> {
  const { now, ...found } = await lockBooking(work, bookingId);
  found.booking.checkIn(now);
  return found;
}
