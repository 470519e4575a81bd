import { randomUUIDv7 as uuid } from 'node:crypto';
import { Session } from '../../src/auth/session.entity.ts';
import { makeAccount } from '../../src/auth/sign-up.ts';
import { Doctor } from '../../src/availability/doctor.entity.ts';
import { Slot } from '../../src/availability/slot.entity.ts';
import type { RoleName } from '../../src/caller.ts';
import { sql } from '../../src/db/sql.ts';
import { forkFor, rows } from '../../src/db/statement.ts';
import { serverCall } from '../../src/demo-clinic.ts';
import type { TestServer } from './server.ts';

/** What it takes to prepare people and to look at the database. */
export type Backstage = Pick<TestServer, 'orm' | 'units' | 'tokens'>;

/** Somebody with an account and a live session. */
export interface Person {
  readonly id: string;
  readonly email: string;
  readonly sessionId: string;
  readonly token: string;
  /** Headers of a call made by this person. */
  readonly headers: { readonly authorization: string };
}

const MINUTE_MS = 60_000;

/** An account made past SignUp, so without the cost of hashing: nobody can log in to it. Doctors are active. */
export async function person(
  server: Backstage,
  role: RoleName,
  displayName = `A ${role.toLowerCase()}`,
): Promise<Person> {
  const email = `${uuid()}@example.test`;
  const account = { email, displayName, passwordHash: 'none', timeZone: 'UTC', role };
  const { user, session } = await server.units.write(serverCall('SignUp'), async (work) => {
    const { user, now } = await makeAccount(work, account);
    const session = Session.begin(user.id, {
      role,
      device: { userAgent: 'test', clientAddress: '127.0.0.1' },
      now: new Date(),
    });
    work.em.persist(session);
    if (role === 'DOCTOR') {
      const doctor = Doctor.pending(user.id, now);
      doctor.approve(now);
      work.em.persist(doctor);
    }
    return { user, session };
  });
  const { token } = await server.tokens.issue({ userId: user.id, sessionId: session.id, role });
  return { id: user.id, email, sessionId: session.id, token, headers: { authorization: `Bearer ${token}` } };
}

/** Several at once. */
export function people(server: Backstage, role: RoleName, count: number): Promise<Person[]> {
  return Promise.all(Array.from({ length: count }, (_, i) => person(server, role, `A ${role.toLowerCase()} ${i}`)));
}

/** Open slots of `minutes` each, one after the other, the first `inMinutes` from now (rounded up to a whole minute). */
export async function openSlots(
  server: Backstage,
  doctorId: string,
  { count = 1, inMinutes = 60, minutes = 30 }: { count?: number; inMinutes?: number; minutes?: number } = {},
): Promise<Slot[]> {
  return server.units.write(serverCall('PublishSlots'), async (work) => {
    const { now } = await work.lock({});
    const first = Math.ceil((now.getTime() + inMinutes * MINUTE_MS) / MINUTE_MS) * MINUTE_MS;
    return Array.from({ length: count }, (_, i) => {
      const startAt = new Date(first + i * minutes * MINUTE_MS);
      const slot = Slot.open(
        doctorId,
        { startAt, endAt: new Date(startAt.getTime() + minutes * MINUTE_MS) },
        { field: 'slot', now },
      );
      work.em.persist(slot);
      return slot;
    });
  });
}

/** What must hold whatever happened; each is the number of rows that break it. */
export async function brokenInvariants(server: Backstage): Promise<Record<string, number>> {
  const [broken] = await rows<Record<string, number>>(
    forkFor(server.orm),
    sql`SELECT
      (SELECT count(*) FROM (SELECT slot_id FROM booking WHERE state <> 'CANCELLED' GROUP BY slot_id HAVING count(*) > 1) x) AS "slots sold twice",
      (SELECT count(*) FROM slot s WHERE state = 'BOOKED' AND NOT EXISTS (SELECT FROM booking b WHERE b.slot_id = s.id AND b.state <> 'CANCELLED')) AS "booked slots without a booking",
      (SELECT count(*) FROM booking b JOIN slot s ON s.id = b.slot_id WHERE b.state <> 'CANCELLED' AND s.state <> 'BOOKED') AS "bookings on slots that aren't booked",
      (SELECT count(*) FROM booking b JOIN slot s ON s.id = b.slot_id WHERE b.state <> 'CANCELLED' AND (b.start_at, b.end_at, b.doctor_id) <> (s.start_at, s.end_at, s.doctor_id)) AS "bookings at another time than their slot",
      (SELECT count(*) FROM booking a JOIN booking b ON a.patient_id = b.patient_id AND a.id < b.id AND tstzrange(a.start_at, a.end_at) && tstzrange(b.start_at, b.end_at)
        WHERE a.state IN ('CONFIRMED', 'CHECKED_IN', 'IN_PROGRESS') AND b.state IN ('CONFIRMED', 'CHECKED_IN', 'IN_PROGRESS')) AS "patients in two places",
      (SELECT count(*) FROM (SELECT end_at > lead(start_at) OVER (PARTITION BY doctor_id ORDER BY start_at, id) AS crossed FROM slot
        WHERE state <> 'WITHDRAWN') x WHERE crossed) AS "slots that overlap",
      (SELECT count(*) FROM idempotency WHERE answer IS NULL) AS "claims without an answer",
      abs((SELECT count(*) FROM idempotency) - (SELECT count(*) FROM audit_event WHERE request_id IS NOT NULL)) AS "answers without a line in the audit trail",
      (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%') AS "transactions left open"`,
  );
  return Object.fromEntries(Object.entries(broken ?? {}).filter(([, count]) => count !== 0));
}
