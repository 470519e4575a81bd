import type { RoleName } from '../caller.ts';
import type { Work } from '../db/work.ts';
import { lockBookingWithSlot, type NamedBooking } from './lock-booking.ts';

/** What CancelBooking asks for. */
export interface CancelBooking {
  readonly bookingId: string;
  readonly reason: string;
  readonly by: RoleName;
}

/**
 * Cancels a booking of the caller. A patient's cancel opens the slot again, if it is still offered; a doctor's or an administrator's withdraws
 * it: they cancel because that time is not to be had. Throws BOOKING_NOT_FOUND, BOOKING_STATE, TOO_LATE.
 */
export async function cancelBooking(work: Work, { bookingId, reason, by }: CancelBooking): Promise<NamedBooking> {
  const { slot, now, ...found } = await lockBookingWithSlot(work, bookingId);
  found.booking.cancel(by, reason, now);
  if (by === 'PATIENT') slot.release(now);
  else slot.withdraw(now);
  return found;
}
