import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUIDv7 as uuid } from 'node:crypto';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Slot, SlotState } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { type Clients, clientsOf, query, reasonOf } from '../../test/support/calls.ts';
import { eventually } from '../../test/support/eventually.ts';
import { brokenInvariants, type Person, people, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';
import { JOBS } from '../jobs/jobs.ts';
import { registerJobs } from '../jobs/lease.ts';
import { perform } from '../jobs/perform.ts';

const DAY = 86_400_000;
const EVERY_DAY = [1, 2, 3, 4, 5, 6, 7] as const;
const { OPEN, BOOKED } = SlotState;

let server: TestServer;
let other: TestServer;
let clients: Clients;
let elsewhere: Clients;
const running: ChildProcess[] = [];

beforeAll(async () => {
  server = await startServer();
  other = await startServer({ databaseUrl: server.url, keysFile: server.keysFile });
  [clients, elsewhere] = [clientsOf(server), clientsOf(other)];
  await registerJobs(server.orm, ['make-slots']);
});

afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  expect(await brokenInvariants(server)).toEqual({});
  await other.stop();
  await server.stop();
});

const daily = (localStart: string, localEnd: string, slotMinutes = 30) =>
  EVERY_DAY.map((weekday) => ({ weekday, localStart, localEnd, slotMinutes }));
const dateIn = (days: number) => new Date(Date.now() + days * DAY).toISOString().slice(0, 10);

const create = (doctor: Person, plan: object) =>
  clients.availability.createSchedule({ requestId: uuid(), plan: { timeZone: 'UTC', ...plan } }, doctor);
const update = (doctor: Person, scheduleId: string | undefined, plan: object, by = clients) =>
  by.availability.updateSchedule({ requestId: uuid(), scheduleId, plan }, doctor);

async function openSlots(doctor: Person): Promise<Slot[]> {
  const ask = { doctorId: doctor.id, states: [OPEN, BOOKED], pageSize: 250 };
  return (await clients.availability.listSlots(ask, doctor)).slots;
}

const startOf = ({ startTime }: Slot) => timestampDate(startTime as NonNullable<typeof startTime>);

/** Rows of slots that schedules have made, by state. */
async function counts({ id }: Person): Promise<Record<string, number>> {
  const found = await query<{ state: string; n: number }>(
    server,
    sql`SELECT state, count(*) AS n FROM slot WHERE doctor_id = ${id} GROUP BY state`,
  );
  return Object.fromEntries(found.map(({ state, n }) => [state, n]));
}

/** Does the job, as an instance of its own would. */
async function jobRuns(at: TestServer): Promise<number | string> {
  const job = JOBS.find(({ name }) => name === 'make-slots');
  if (!job) throw new Error('no such job');
  const { signal } = new AbortController();
  return perform(job, { orm: at.orm, holder: uuid(), leaseMs: 30_000, signal }).then(
    ({ changed }) => changed,
    ({ message }: Error) => message,
  );
}

test('a hundred times: somebody books while the doctor changes the schedule or closes the date; one of both comes first', async () => {
  const doctor = await person(server, 'DOCTOR');
  const patients = await people(server, 'PATIENT', 4);
  const plan = { windows: daily('09:00', '11:00'), fromDate: dateIn(1), advanceDays: 4 };
  const { schedule } = await create(doctor, plan);
  const told = new Set<string>();
  for (let round = 0; round < 100; round++) {
    const slots = (await openSlots(doctor)).filter(({ state }) => state === OPEN).slice(0, 4);
    const booking = patients.map(async (patient, i) => {
      const slotId = slots[i]?.id;
      const by = i % 2 ? clients : elsewhere;
      try {
        const { booking } = await by.booking.bookSlot({ requestId: uuid(), slotId }, patient);
        return { slotId, bookingId: booking?.id, patient };
      } catch (error) {
        told.add(await reasonOf(Promise.reject(error)));
        return undefined;
      }
    });
    const date = startOf(slots[0] as Slot)
      .toISOString()
      .slice(0, 10);
    const changing =
      round % 2
        ? clients.availability.addException({ requestId: uuid(), date }, doctor)
        : update(doctor, schedule?.id, { windows: daily('13:00', '15:00') }, elsewhere);
    const [changed, ...booked] = await Promise.all([changing, ...booking]);
    const held = booked.filter((one) => one !== undefined);
    const rows = await query<{ id: string; state: string }>(
      server,
      sql`SELECT id, state FROM slot WHERE id = ANY (${slots.map(({ id }) => id)}::uuid[])`,
    );
    // Every slot of that date was either sold, and told so, or taken back.
    for (const { id, state } of rows.filter(({ state }) => state !== 'OPEN'))
      expect([state, held.some(({ slotId }) => slotId === id)]).toEqual([state, state === 'BOOKED']);
    expect(rows.filter(({ state }) => state === 'BOOKED')).toHaveLength(held.length);
    if (round % 2 === 0) {
      expect(changed.changes?.bookedOutside).toBe(held.length);
      expect(rows.filter(({ state }) => state === 'OPEN')).toEqual([]);
    }
    // Everything as it was, for the next round.
    for (const { bookingId, patient } of held)
      await clients.booking.cancelBooking({ requestId: uuid(), bookingId, reason: 'next round' }, patient);
    if ('exception' in changed)
      await clients.availability.removeException({ requestId: uuid(), exceptionId: changed.exception?.id }, doctor);
    await update(doctor, schedule?.id, { windows: daily('09:00', '11:00') });
    expect(await counts(doctor)).toMatchObject({ OPEN: 12 });
  }
  expect([...told].filter((reason) => !/^SLOT_(NOT_FOUND|TAKEN)$/.test(reason))).toEqual([]);
  expect(await brokenInvariants(server)).toEqual({});
}, 240_000);

test('thirty times: patients cancel and move while the doctor closes the date; afterwards nothing on it is open', async () => {
  const doctor = await person(server, 'DOCTOR');
  const patients = await people(server, 'PATIENT', 4);
  await create(doctor, { windows: daily('09:00', '11:00'), fromDate: dateIn(1), advanceDays: 4 });
  const date = dateIn(2);
  const thatDay = async () => (await openSlots(doctor)).filter((slot) => startOf(slot).toISOString().startsWith(date));
  for (let round = 0; round < 30; round++) {
    const before = await thatDay();
    expect(before.map(({ state }) => state)).toEqual([OPEN, OPEN, OPEN, OPEN]);
    const elsewhen = (await openSlots(doctor)).filter((slot) => !before.some(({ id }) => id === slot.id));
    const book = (i: number) =>
      clients.booking.bookSlot({ requestId: uuid(), slotId: before[i]?.id }, patients[i] as Person);
    const bookings = (await Promise.all([0, 1, 2, 3].map(book))).map(({ booking }) => booking?.id);
    const leaving = bookings.map((bookingId, i) => {
      const patient = patients[i] as Person;
      const by = i % 2 ? clients : elsewhere;
      if (i < 2) return by.booking.cancelBooking({ requestId: uuid(), bookingId, reason: 'ill' }, patient);
      return by.booking.rescheduleBooking({ requestId: uuid(), bookingId, newSlotId: elsewhen[i]?.id }, patient);
    });
    const [{ exception }] = await Promise.all([
      clients.availability.addException({ requestId: uuid(), date }, doctor),
      ...leaving,
    ]);
    expect(await thatDay()).toEqual([]);
    for (const i of [2, 3])
      await clients.booking.cancelBooking(
        { requestId: uuid(), bookingId: bookings[i], reason: 'next round' },
        patients[i] as Person,
      );
    await clients.availability.removeException({ requestId: uuid(), exceptionId: exception?.id }, doctor);
  }
}, 120_000);

test('two instances, two changes and the job at once: everything once', async () => {
  const doctor = await person(server, 'DOCTOR');
  const { schedule } = await create(doctor, { windows: daily('09:00', '11:00'), fromDate: dateIn(1), advanceDays: 8 });
  for (let round = 0; round < 10; round++) {
    await query(server, sql`UPDATE agenda SET due_at = now() WHERE doctor_id = ${doctor.id}`);
    await query(server, sql`UPDATE slot SET state = 'WITHDRAWN', retracted_at = now() WHERE doctor_id = ${doctor.id}`);
    const ran = await Promise.all([
      jobRuns(server),
      jobRuns(other),
      update(doctor, schedule?.id, { advanceDays: 8 }),
      update(doctor, schedule?.id, { advanceDays: 8 }, elsewhere),
    ]);
    for (const one of ran.slice(0, 2)) expect(typeof one === 'number' || /another run/.test(one as string)).toBe(true);
    expect((await counts(doctor)).OPEN).toBe(28);
  }
});

describe('a listing through another instance is right within a second', () => {
  const listed = async (doctor: Person) =>
    (await elsewhere.availability.listSlots({ doctorId: doctor.id, pageSize: 250 })).slots.length;
  const asked = async (doctor: Person, expected: number) => {
    const before = Date.now();
    await eventually(async () => (await listed(doctor)) === expected || Date.now() - before > 10_000);
    expect(await listed(doctor)).toBe(expected);
  };
  let doctor: Person;
  let scheduleId: string | undefined;

  beforeAll(async () => {
    doctor = await person(server, 'DOCTOR');
    expect(await listed(doctor)).toBe(0);
  });

  test('after a schedule was created, changed, and had an exception', async () => {
    const plan = { windows: daily('09:00', '11:00'), fromDate: dateIn(1), advanceDays: 4 };
    scheduleId = (await create(doctor, plan)).schedule?.id;
    await asked(doctor, 12);
    await update(doctor, scheduleId, { windows: daily('09:00', '10:00') });
    await asked(doctor, 6);
    const { exception } = await clients.availability.addException({ requestId: uuid(), date: dateIn(2) }, doctor);
    await asked(doctor, 4);
    await clients.availability.removeException({ requestId: uuid(), exceptionId: exception?.id }, doctor);
    await asked(doctor, 6);
  });

  test('after the job has made more', async () => {
    await query(server, sql`UPDATE schedule SET advance_days = 6 WHERE id = ${scheduleId}`);
    await query(server, sql`UPDATE agenda SET due_at = now() WHERE doctor_id = ${doctor.id}`);
    expect(await jobRuns(server)).toBe(4);
    await asked(doctor, 10);
  });

  test('after it was deleted', async () => {
    await clients.availability.deleteSchedule({ requestId: uuid(), scheduleId }, doctor);
    await asked(doctor, 0);
  });
});

test.each(['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Africa/Cairo', 'Asia/Kolkata'])(
  'a doctor’s year in %s: nine to eleven by the clock on the wall, all year round',
  async (timeZone) => {
    const doctor = await person(server, 'DOCTOR');
    await create(doctor, { timeZone, windows: daily('09:00', '11:00', 60), advanceDays: 400 });
    await eventually(async () => {
      const due = await query(server, sql`SELECT FROM agenda WHERE doctor_id = ${doctor.id} AND due_at <= now()`);
      return due.length === 0 || (await jobRuns(server)) === -1;
    });
    const found = await query<{ start_at: Date; wall: string }>(
      server,
      sql`SELECT start_at, to_char(start_at AT TIME ZONE ${timeZone}, 'YYYY-MM-DD HH24:MI') AS wall FROM slot
          WHERE doctor_id = ${doctor.id} ORDER BY start_at`,
    );
    const days = Map.groupBy(found.slice(2), ({ wall }) => wall.slice(0, 10));
    expect([...new Set(found.map(({ wall }) => wall.slice(11)))].sort()).toEqual(['09:00', '10:00']);
    expect(days.size).toBeGreaterThanOrEqual(398);
    const offsets = new Set(
      found.map(({ start_at, wall }) => Date.parse(`${wall.replace(' ', 'T')}Z`) - start_at.getTime()),
    );
    expect(offsets.size).toBe(timeZone === 'Asia/Kolkata' ? 1 : 2);
  },
);

test('an instance killed in the middle of the job leaves nothing half done, and the next one does the rest', async () => {
  const doctors = await people(server, 'DOCTOR', 3);
  for (const doctor of doctors) {
    await create(doctor, { windows: daily('09:00', '11:00'), fromDate: dateIn(1), advanceDays: 4 });
    await query(server, sql`UPDATE schedule SET advance_days = 8 WHERE doctor_id = ${doctor.id}`);
  }
  const ids = doctors.map(({ id }) => id);
  await query(server, sql`UPDATE agenda SET due_at = now() WHERE doctor_id = ANY (${ids}::uuid[])`);
  // Somebody holds the second doctor's agenda, so that the job has made that doctor's slots and waits, uncommitted.
  const holder = new pg.Client(server.url);
  await holder.connect();
  const order = await query<{ doctor_id: string }>(
    server,
    sql`SELECT doctor_id FROM agenda WHERE due_at <= now() ORDER BY due_at, doctor_id`,
  );
  const second = order[1]?.doctor_id as string;
  await holder.query('BEGIN');
  await holder.query('SELECT FROM agenda WHERE doctor_id = $1 FOR UPDATE', [second]);
  const child = spawn(process.execPath, ['src/jobs/make-slots.fixture.ts', server.url], { stdio: 'ignore' });
  running.push(child);
  const waiting = async () =>
    (
      await query(
        server,
        sql`SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'amrutam make-slots'
            AND wait_event_type = 'Lock'`,
      )
    ).length > 0;
  await eventually(waiting);
  child.kill('SIGKILL');
  await holder.query('ROLLBACK');
  await holder.end();
  await eventually(
    async () =>
      (
        await query(
          server,
          sql`SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'amrutam make-slots'`,
        )
      ).length === 0,
  );
  const count = async (id: string | undefined) => (await counts({ id } as Person)).OPEN;
  expect(await Promise.all(order.map(({ doctor_id }) => count(doctor_id)))).toEqual([28, 12, 12]);
  expect(await jobRuns(server)).toBe('another run is at make-slots');
  await query(server, sql`UPDATE job SET seen_at = now() - interval '1 minute' WHERE name = 'make-slots'`);
  expect(await jobRuns(server)).toBe(32);
  expect(await Promise.all(order.map(({ doctor_id }) => count(doctor_id)))).toEqual([28, 28, 28]);
});

test('each change leaves a line in the audit trail that says which schedule and which fields', async () => {
  const doctor = await person(server, 'DOCTOR');
  const { schedule } = await create(doctor, { windows: daily('09:00', '11:00'), advanceDays: 3 });
  await update(doctor, schedule?.id, { advanceDays: 4 });
  await reasonOf(update(doctor, uuid(), { advanceDays: 4 }));
  await clients.availability.deleteSchedule({ requestId: uuid(), scheduleId: schedule?.id }, doctor);
  const lines = await query<{ action: string; outcome: string; entity_id: string; changed_fields: string[] }>(
    server,
    sql`SELECT action, outcome, entity_type, entity_id, changed_fields FROM audit_event WHERE actor_id = ${doctor.id} ORDER BY recorded_at`,
  );
  expect(lines).toMatchObject([
    { action: 'CreateSchedule', outcome: 'DONE', entity_type: 'schedule', entity_id: schedule?.id },
    { action: 'UpdateSchedule', outcome: 'DONE', entity_type: 'schedule', entity_id: schedule?.id },
    { action: 'UpdateSchedule', outcome: 'REFUSED', entity_type: 'schedule' },
    { action: 'DeleteSchedule', outcome: 'DONE', entity_type: 'schedule', entity_id: schedule?.id },
  ]);
  const named = lines.map(({ changed_fields }) => changed_fields.filter((field) => field.startsWith('schedule.')));
  expect(named).toEqual([['schedule.*'], ['schedule.advance_days'], [], ['schedule.state']]);
});
