import type { Work } from '../db/work.ts';
import { lockBooking, type NamedBooking } from './lock-booking.ts';

/** The patient didn't come; from the start on. Throws BOOKING_NOT_FOUND, BOOKING_STATE, TOO_EARLY. */
export async function markNoShow(work: Work, bookingId: string): Promise<NamedBooking> {
  const { now, ...found } = await lockBooking(work, bookingId);
  found.booking.markNoShow(now);
  return found;
}
