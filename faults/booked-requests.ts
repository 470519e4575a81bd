import { sql } from '../src/db/sql.ts';
import { forkFor, row } from '../src/db/statement.ts';
import type { Clinic } from './clinic.ts';
import type { Report } from './drill.ts';

/** Counts what was booked: `atLeast` were acknowledged. Throws where fewer are there, or one request made two. */
export async function bookedRequests(clinic: Clinic, { atLeast }: { readonly atLeast: number }): Promise<Report> {
  const booked = await row<{ bookings: number; requests: number }>(
    forkFor(clinic.orm),
    sql`SELECT count(*) AS bookings, count(DISTINCT a.request_id) AS requests
        FROM booking b JOIN audit_event a ON a.entity_id = b.id AND a.action = 'BookSlot' AND a.outcome = 'DONE'`,
  );
  const { bookings = 0, requests = 0 } = booked ?? {};
  const report = { acknowledged: atLeast, lost: Math.max(0, atLeast - requests), doubled: bookings - requests };
  if (report.lost || report.doubled) throw new Error(`${report.lost} lost, ${report.doubled} doubled`);
  return report;
}
