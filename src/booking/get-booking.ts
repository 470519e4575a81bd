import type { EntityManager } from '@mikro-orm/postgresql';
import type { Caller } from '../caller.ts';
import { sql } from '../db/sql.ts';
import { Fault } from '../fault.ts';
import type { NamedBooking } from './lock-booking.ts';
import { namedBookings } from './named-rows.ts';
import { ownedBy } from './ownership.ts';

/** One booking of the caller. Throws BOOKING_NOT_FOUND. */
export async function getBooking(em: EntityManager, bookingId: string, caller: Caller): Promise<NamedBooking> {
  const [found] = await namedBookings(em, sql`WHERE booking.id = ${bookingId} AND ${ownedBy(caller)}`);
  if (!found) throw new Fault('BOOKING_NOT_FOUND', 'no such booking');
  return found;
}
