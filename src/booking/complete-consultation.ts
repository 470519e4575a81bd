import type { Work } from '../db/work.ts';
import { lockBooking, type NamedBooking } from './lock-booking.ts';

/** The doctor ends a consultation in progress. Throws BOOKING_NOT_FOUND, BOOKING_STATE. */
export async function completeConsultation(work: Work, bookingId: string): Promise<NamedBooking> {
  const { now, ...found } = await lockBooking(work, bookingId);
  found.booking.complete(now);
  return found;
}
