import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { rows, type Sql } from '../db/statement.ts';
import { Booking } from './booking.entity.ts';
import type { NamedBooking } from './lock-booking.ts';

/** Bookings chosen by `from` - the tail of a SELECT over `booking`, its ORDER BY and LIMIT included - with the names of both sides. */
export async function namedBookings(em: EntityManager, from: Sql): Promise<NamedBooking[]> {
  type Named = { readonly booking: object; readonly doctor: string; readonly patient: string };
  const found = await rows<Named>(
    em,
    sql`SELECT to_jsonb(b) AS booking, d.display_name AS doctor, p.display_name AS patient
        FROM (SELECT booking.* FROM booking ${from}) b
        JOIN app_user d ON d.id = b.doctor_id JOIN app_user p ON p.id = b.patient_id
        ORDER BY b.start_at, b.id`,
  );
  return found.map(({ booking, doctor, patient }) => ({
    booking: em.map(Booking, booking),
    doctorDisplayName: doctor,
    patientDisplayName: patient,
  }));
}
