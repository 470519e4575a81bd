import type { EntityManager } from '@mikro-orm/postgresql';
import type { Caller } from '../caller.ts';
import { sql } from '../db/sql.ts';
import { allOf } from '../db/statement.ts';
import { type Page, type PageAsk, pageOf } from '../page.ts';
import type { BookingState } from './booking.entity.ts';
import type { NamedBooking } from './lock-booking.ts';
import { namedBookings } from './named-rows.ts';
import { ownedBy } from './ownership.ts';

/** What ListBookings asks for; absent and empty conditions don't count. */
export interface BookingListing {
  readonly states: readonly BookingState[];
  readonly from?: Date | undefined;
  readonly until?: Date | undefined;
  readonly doctorId: string;
  readonly patientId: string;
}

/** Place in the listing: start (ISO 8601) and id. */
export type BookingCursor = readonly [startAt: string, id: string];

/** The caller's bookings by start time. */
export async function listBookings(
  em: EntityManager,
  { states, from, until, doctorId, patientId }: BookingListing,
  { page, caller }: { page: PageAsk<BookingCursor>; caller: Caller },
): Promise<Page<NamedBooking, BookingCursor>> {
  const found = await namedBookings(
    em,
    sql`WHERE ${allOf([
      ownedBy(caller),
      states.length > 0 && sql`state = ANY (${states})`,
      from && sql`start_at >= ${from}`,
      until && sql`start_at < ${until}`,
      doctorId !== '' && sql`doctor_id = ${doctorId}`,
      patientId !== '' && sql`patient_id = ${patientId}`,
      page.after && sql`(start_at, id) > (${sql.join(page.after)})`,
    ])} ORDER BY start_at, id LIMIT ${page.size + 1}`,
  );
  return pageOf(found, page.size, ({ booking }): BookingCursor => [booking.startAt.toISOString(), booking.id]);
}
