import pg from 'pg';
import { fill, sqlIdOf } from '../../bench/clinic.ts';

/** Bookings of each doctor, and of each patient. */
const EACH = 100;
/** How many of them are made before the backup. */
const BEFORE = 90;

/** A database full of bookings, made by SQL as BookSlot would leave them. */
export interface ManyBookings {
  /** The last tenth: what WAL holds of a busy day. */
  more(): Promise<void>;
}

/** Makes nine tenths of `count` bookings in the database at `url`. */
export async function makeBookings(url: string, count: number): Promise<ManyBookings> {
  const client = new pg.Client(url);
  client.on('error', () => {}); // the server will be killed
  await client.connect();
  const query = async <R>(text: string, values: readonly unknown[] = []) =>
    (await client.query(text, [...values])).rows as R[];
  const doctors = Math.ceil(count / EACH);
  await fill({ url, query, close: () => client.end() }, { doctors, slotsEach: EACH });
  const make = async (from: number, to: number) => {
    for (const statement of statements(doctors)) await query(statement, [from, to - 1]);
  };
  await make(0, BEFORE);
  await query('VACUUM (ANALYZE)');
  return {
    async more() {
      await make(BEFORE, EACH);
      await client.end();
    },
  };
}

/** Slot n is booked by a patient who has no other at its time. */
function statements(doctors: number): readonly string[] {
  const each = `generate_series($1::integer, $2::integer) nth, generate_series(0, ${doctors - 1}) doctor,
    LATERAL (SELECT nth::bigint * ${doctors} + doctor AS n, (doctor + nth * 7) % ${doctors} AS patient) b`;
  const [id, slot, request] = [sqlIdOf('booking', 'n'), sqlIdOf('slot', 'n'), sqlIdOf('request', 'n')];
  return [
    `INSERT INTO booking (id, slot_id, doctor_id, patient_id, start_at, end_at, state, reason_for_visit, cancel_reason, created_at, updated_at)
     SELECT ${id}, s.id, s.doctor_id, ${sqlIdOf('patient', 'patient')}, s.start_at, s.end_at, 'CONFIRMED', 'a cough', '', now(), now()
     FROM ${each} JOIN slot s ON s.id = ${slot}`,
    `UPDATE slot SET state = 'BOOKED', updated_at = now() FROM ${each} WHERE slot.id = ${slot}`,
    `INSERT INTO audit_event (id, recorded_at, actor_id, actor_role, action, outcome, reason, entity_type, entity_id, patient_id, request_id,
       trace_id, client_address, instance, changed_fields, xid)
     SELECT ${sqlIdOf('event', 'n')}, now(), ${sqlIdOf('patient', 'patient')}, 'PATIENT', 'BookSlot', 'DONE', '', 'booking', ${id},
       ${sqlIdOf('patient', 'patient')}, ${request}, md5(n::text), '127.0.0.1', 'drill', ARRAY['state'], pg_current_xact_id() FROM ${each}`,
    `INSERT INTO idempotency (caller_id, method, request_id, fingerprint, answer, created_at)
     SELECT ${sqlIdOf('patient', 'patient')}, 'BookSlot', ${request}, sha256(n::text::bytea),
       decode(repeat(md5(n::text), 12), 'hex'), now() FROM ${each}`,
  ];
}
