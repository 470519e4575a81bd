import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { Role } from '../gen/amrutam/access/v1/access_pb.ts';
import { Bucket } from '../gen/amrutam/admin/v1/admin_pb.ts';
import { SlotState, type Weekday } from '../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingState, SlotAlternativesSchema } from '../gen/amrutam/booking/v1/booking_pb.ts';
import type { Slot } from '../src/availability/slot.entity.ts';
import { brokenInvariants, openSlots, type Person, people, person } from './support/people.ts';
import { type BothClients, type Clients, clientsOf, type Outcome, outcomeOf, tally } from './support/process-client.ts';
import { endProcesses, runCommand, startService } from './support/process-service.ts';
import { startServer, type TestServer } from './support/server.ts';

let server: TestServer;
let clients: BothClients;
let database: pg.Client;
let doctor: Person;
let patient: Person;
let other: Person;

beforeAll(async () => {
  server = await startServer({ pool: 4 });
  clients = clientsOf(server);
  database = new pg.Client(server.url);
  database.on('error', () => {});
  await database.connect();
  doctor = await person(server, 'DOCTOR');
  [patient, other] = (await people(server, 'PATIENT', 2)) as [Person, Person];
});

afterEach(async () => {
  server.shift(0);
  expect(await brokenInvariants(server)).toEqual({});
});

afterAll(async () => {
  endProcesses();
  await database?.end();
  await server?.stop();
});

let hour = 0;

/** Open slots, one after the other, at an hour that no other test uses. */
async function slots(count: number, owner = doctor): Promise<[Slot, ...Slot[]]> {
  hour += 4;
  return (await openSlots(server, owner.id, { count, inMinutes: hour * 60 })) as [Slot, ...Slot[]];
}

async function slotState(id: string): Promise<SlotState | undefined> {
  return (await clients.grpc.availability.getSlot({ slotId: id }, doctor)).slot?.state;
}

const { grpc, json } = {
  grpc: <T>(by: Person, call: (via: Clients, as: Person) => Promise<T>) => outcome('grpc', by, call),
  json: <T>(by: Person, call: (via: Clients, as: Person) => Promise<T>) => outcome('json', by, call),
};

function outcome<T>(protocol: 'grpc' | 'json', by: Person, call: (via: Clients, as: Person) => Promise<T>) {
  return outcomeOf(by, (as) => call(clients[protocol], as as Person));
}

/** One booking as `by`, over gRPC. */
function book(by: Person, { id: slotId }: Slot, requestId: string = randomUUID()) {
  return grpc(by, ({ booking }, as) => booking.bookSlot({ requestId, slotId }, as));
}

function idOf({ answer, reason }: Outcome<{ booking?: { id: string } | undefined }>): string {
  if (!answer?.booking) throw new Error(`not booked: ${reason}`);
  return answer.booking.id;
}

test('1. claim, booking, slot, audit and answer are written together or not at all, and then the retry books', async () => {
  const [slot] = await slots(1);
  const requestId = randomUUID();
  await database.query(`ALTER TABLE audit_event ADD CONSTRAINT broken CHECK (action <> 'BookSlot') NOT VALID`);
  expect((await book(patient, slot, requestId)).error?.code).toBe(Code.Internal);
  await database.query('ALTER TABLE audit_event DROP CONSTRAINT broken');
  const { rows } = await database.query(
    `SELECT (SELECT count(*)::int FROM booking WHERE slot_id = $1) AS bookings, (SELECT state FROM slot WHERE id = $1) AS slot,
       (SELECT count(*)::int FROM idempotency WHERE request_id = $2) AS claims`,
    [slot.id, requestId],
  );
  expect(rows).toEqual([{ bookings: 0, slot: 'OPEN', claims: 0 }]);
  const made = await book(patient, slot, requestId);
  expect(made).toMatchObject({ reason: 'OK', replayed: false });
  const again = await json(patient, ({ booking }, as) => booking.bookSlot({ requestId, slotId: slot.id }, as));
  expect(again).toMatchObject({ reason: 'OK', replayed: true, answer: made.answer });
});

test('2. a request_id belongs to its caller and its payload', async () => {
  const [slot, second] = (await slots(2)) as [Slot, Slot];
  const requestId = randomUUID();
  const mine = await book(patient, slot, requestId);
  const theirs = await book(other, slot, requestId);
  expect(theirs).toMatchObject({ reason: 'SLOT_TAKEN', replayed: false });
  expect(await book(patient, second, requestId)).toMatchObject({ reason: 'REQUEST_ID_REUSED' });
  const otherwise = { requestId, slotId: slot.id, reasonForVisit: 'something else' };
  expect((await json(patient, ({ booking }, as) => booking.bookSlot(otherwise, as))).reason).toBe('REQUEST_ID_REUSED');
  expect(idOf(await book(other, second))).not.toBe(idOf(mine));
});

test('3. a refusal is replayed as that refusal, code, reason and details, even when its cause has gone', async () => {
  const [slot] = await slots(4);
  const held = idOf(await book(other, slot));
  const requestId = randomUUID();
  const refused = await book(patient, slot, requestId);
  await clients.grpc.booking.cancelBooking({ requestId: randomUUID(), bookingId: held }, other);
  for (const protocol of ['grpc', 'json'] as const) {
    const again = await outcome(protocol, patient, ({ booking }, as) =>
      booking.bookSlot({ requestId, slotId: slot.id }, as),
    );
    expect(again).toMatchObject({ reason: 'SLOT_TAKEN', replayed: true });
    expect(again.error?.code).toBe(Code.FailedPrecondition);
    const offered = ({ error }: Outcome<unknown>) => error?.findDetails(SlotAlternativesSchema);
    expect(offered(again)).toEqual(offered(refused));
    expect(offered(again)?.[0]?.slots).toHaveLength(3);
  }
});

test('4. a client that goes away in the middle gets one booking from its retry', async () => {
  for (const protocol of ['grpc', 'json'] as const) {
    const [slot] = await slots(1);
    const request = { requestId: randomUUID(), slotId: slot.id };
    await database.query('BEGIN');
    await database.query('SELECT FROM slot WHERE id = $1 FOR UPDATE', [slot.id]);
    const gone = new AbortController();
    const options = { headers: patient.headers, signal: gone.signal };
    const first = outcomeOf(options, (as) => clients[protocol].booking.bookSlot(request, as));
    await waitingForLock();
    gone.abort();
    expect((await first).reason).toBe('Canceled');
    const retry = outcome(protocol, patient, ({ booking }, as) => booking.bookSlot(request, as));
    await sleep(50);
    await database.query('COMMIT');
    expect((await retry).reason).toBe('OK');
    const repeated = await grpc(patient, ({ booking }, as) => booking.bookSlot(request, as));
    expect(repeated).toMatchObject({ replayed: true, answer: (await retry).answer });
  }
  for (let round = 0; round < 24; round++) {
    const [slot] = await slots(1);
    const request = { requestId: randomUUID(), slotId: slot.id };
    const via = clients.turn(round).booking;
    // Each round goes away a millisecond later than the one before: before, during and after the commit.
    const options = { headers: patient.headers, signal: AbortSignal.timeout(round) };
    await outcomeOf(options, (as) => via.bookSlot(request, as));
    expect((await outcomeOf(patient, (as) => via.bookSlot(request, as))).reason).toBe('OK');
    const { rowCount } = await database.query('SELECT FROM booking WHERE slot_id = $1', [slot.id]);
    expect(rowCount).toBe(1);
  }
});

async function waitingForLock(): Promise<void> {
  const sql = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
  while ((await database.query(sql)).rowCount === 0) await sleep(20);
}

test('5. a cancelled slot can be booked again, by anybody, again and again', async () => {
  const [slot] = await slots(1);
  for (const who of [patient, other, patient]) {
    const bookingId = idOf(await book(who, slot));
    await clients.json.booking.cancelBooking({ requestId: randomUUID(), bookingId }, who);
  }
  expect((await book(other, slot)).reason).toBe('OK');
});

test('6. a past slot can be neither booked nor published, and overlapping slots of a doctor not published', async () => {
  const [slot] = await slots(1);
  const publish = (from: number, until: number) =>
    grpc(doctor, ({ availability }, as) =>
      availability.publishSlots({ requestId: randomUUID(), slots: [{ startTime: at(from), endTime: at(until) }] }, as),
    );
  const at = (minutes: number) => timestampFromDate(new Date(slot.startAt.getTime() + minutes * 60_000));
  expect((await publish(29, 59)).reason).toBe('SLOT_OVERLAP');
  expect((await publish(5, 25)).reason).toBe('SLOT_OVERLAP');
  expect((await publish(-30, 60)).reason).toBe('SLOT_OVERLAP');
  expect((await publish(30, 60)).reason).toBe('OK');
  server.shift(slot.startAt.getTime() - Date.now());
  expect((await book(patient, slot)).reason).toBe('SLOT_IN_PAST');
  expect((await publish(-30, 0)).reason).toBe('SLOT_IN_PAST');
});

test('7. a patient is never in two places: neither by booking nor by moving', async () => {
  const colleague = await person(server, 'DOCTOR');
  const [mine] = await slots(1);
  const inMinutes = (mine.startAt.getTime() - Date.now()) / 60_000;
  const [clash, after] = (await openSlots(server, colleague.id, {
    count: 2,
    inMinutes: inMinutes + 15,
    minutes: 15,
  })) as [Slot, Slot];
  expect((await book(patient, mine)).reason).toBe('OK');
  expect((await book(patient, clash)).reason).toBe('PATIENT_BUSY');
  const bookingId = idOf(await book(patient, after));
  const move = { requestId: randomUUID(), bookingId, newSlotId: clash.id };
  expect((await json(patient, ({ booking }, as) => booking.rescheduleBooking(move, as))).reason).toBe('PATIENT_BUSY');
  expect((await book(other, clash)).reason).toBe('OK');
});

test('8. a cancel never overwrites a completion, and a second cancel never frees the slot of somebody else', async () => {
  const [first, second] = (await slots(2)) as [Slot, Slot];
  const completed = idOf(await book(patient, first));
  const cancelled = idOf(await book(patient, second));
  const cancel = { requestId: randomUUID(), bookingId: cancelled };
  await clients.grpc.booking.cancelBooking(cancel, patient);
  await book(other, second);
  const late = await json(patient, ({ booking }, as) => booking.cancelBooking(cancel, as));
  expect(late).toMatchObject({ reason: 'OK', replayed: true });
  const anew = { ...cancel, requestId: randomUUID() };
  expect((await json(patient, ({ booking }, as) => booking.cancelBooking(anew, as))).reason).toBe('BOOKING_STATE');
  expect(await slotState(second.id)).toBe(SlotState.BOOKED);

  server.shift(first.startAt.getTime() - Date.now());
  const ids = () => ({ requestId: randomUUID(), bookingId: completed });
  await clients.grpc.booking.startConsultation(ids(), doctor);
  await clients.grpc.booking.completeConsultation(ids(), doctor);
  expect((await grpc(doctor, ({ booking }, as) => booking.cancelBooking(ids(), as))).reason).toBe('BOOKING_STATE');
  const { booking } = await clients.json.booking.getBooking({ bookingId: completed }, patient);
  expect(booking?.state).toBe(BookingState.COMPLETED);
});

test('9. a doctor can neither take back nor publish over a slot that is booked', async () => {
  const [slot] = await slots(1);
  await book(patient, slot);
  const withdraw = { requestId: randomUUID(), slotId: slot.id };
  const times = { startTime: timestampFromDate(slot.startAt), endTime: timestampFromDate(slot.endAt) };
  const publish = { requestId: randomUUID(), slots: [times] };
  expect((await json(doctor, ({ availability }, as) => availability.withdrawSlot(withdraw, as))).reason).toBe(
    'SLOT_NOT_OPEN',
  );
  expect((await json(doctor, ({ availability }, as) => availability.publishSlots(publish, as))).reason).toBe(
    'SLOT_OVERLAP',
  );
  expect(await slotState(slot.id)).toBe(SlotState.BOOKED);
});

test('10. nobody signs up as administrator, and what belongs to somebody else is not found', async () => {
  const account = { email: `${randomUUID()}@example.test`, password: 'a long enough secret', displayName: 'Asha' };
  for (const role of [Role.ADMINISTRATOR, 'ROLE_ADMINISTRATOR', 3, 7]) {
    const response = await fetch(`http://127.0.0.1:${server.httpPort}/amrutam.auth.v1.AuthService/SignUp`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...account, role }),
    });
    expect(response.status).toBe(400);
  }
  const signUp = outcomeOf({}, (as) => clients.grpc.auth.signUp({ ...account, role: Role.ADMINISTRATOR }, as));
  expect((await signUp).reason).toBe('FIELD_INVALID');

  const [slot, free] = (await slots(2)) as [Slot, Slot];
  const bookingId = idOf(await book(patient, slot));
  const stranger = await person(server, 'DOCTOR');
  const ids = () => ({ requestId: randomUUID(), bookingId });
  const refusals = await Promise.all([
    grpc(other, ({ booking }, as) => booking.getBooking({ bookingId }, as)),
    grpc(stranger, ({ booking }, as) => booking.getBooking({ bookingId }, as)),
    json(other, ({ booking }, as) => booking.cancelBooking(ids(), as)),
    json(stranger, ({ booking }, as) => booking.cancelBooking(ids(), as)),
    grpc(other, ({ booking }, as) => booking.rescheduleBooking({ ...ids(), newSlotId: free.id }, as)),
    json(other, ({ booking }, as) => booking.checkIn(ids(), as)),
    grpc(stranger, ({ booking }, as) => booking.startConsultation(ids(), as)),
    json(stranger, ({ booking }, as) => booking.markNoShow(ids(), as)),
  ]);
  expect(tally(refusals)).toEqual({ BOOKING_NOT_FOUND: 8 });
  expect((await clients.grpc.booking.listBookings({}, stranger)).bookings).toEqual([]);
  const withdraw = { requestId: randomUUID(), slotId: free.id };
  expect((await json(stranger, ({ availability }, as) => availability.withdrawSlot(withdraw, as))).reason).toBe(
    'SLOT_NOT_FOUND',
  );
});

test('11. a booking takes one connection: sixty-four at once share four and all succeed', async () => {
  const doctors = await people(server, 'DOCTOR', 8);
  const open = (await Promise.all(doctors.map((one) => openSlots(server, one.id, { count: 8 })))).flat();
  const patients = await people(server, 'PATIENT', 64);
  const outcomes = await Promise.all(
    open.map(({ id: slotId }, i) =>
      outcomeOf(patients[i] as Person, (as) =>
        clients.turn(i).booking.bookSlot({ requestId: randomUUID(), slotId }, as),
      ),
    ),
  );
  expect(tally(outcomes)).toEqual({ OK: 64 });
});

test('12. bookings depend on nothing but PostgreSQL: with a Redis that is not there they are made', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-promise-'));
  const [slot] = await slots(1);
  try {
    await runCommand('create-keys', { args: [join(folder, 'keys.json')] });
    const service = await startService({
      DATABASE_URL: server.url,
      JWT_KEYS_FILE: join(folder, 'keys.json'),
      REDIS_URL: 'redis://127.0.0.1:1',
    });
    const { grpc, json } = clientsOf(service);
    const account = { email: `${randomUUID()}@example.test`, password: 'a long enough secret', displayName: 'Asha' };
    const { session } = await json.auth.signUp({ ...account, role: Role.PATIENT });
    const as = { headers: { authorization: `Bearer ${session?.accessToken}` } };
    const request = { requestId: randomUUID(), slotId: slot.id };
    const { booking } = await grpc.booking.bookSlot(request, as);
    expect(booking?.state).toBe(BookingState.CONFIRMED);
    expect((await json.booking.bookSlot(request, as)).booking).toEqual(booking);
    service.kill('SIGTERM');
    expect((await service.ended).code).toBe(0);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('13. times have zones: instants everywhere, and a day on which the clocks change has 23 or 25 hours', async () => {
  const { rows } = await database.query(
    `SELECT table_name || '.' || column_name AS column, data_type FROM information_schema.columns
     WHERE table_schema = current_schema() AND (data_type ~ '^(timestamp|time)' OR column_name ~ '_at$')
       AND table_name <> 'mikro_orm_migrations'`,
  );
  expect(rows.length).toBeGreaterThan(10);
  expect(rows.filter(({ data_type }) => data_type !== 'timestamp with time zone')).toEqual([]);

  const administrator = await person(server, 'ADMINISTRATOR');
  const hours = async (from: string, until: string, timeZone: string) => {
    const range = { from: timestampFromDate(new Date(from)), until: timestampFromDate(new Date(until)) };
    const ask = { ...range, bucket: Bucket.DAY, timeZone };
    const { buckets } = await clients.json.admin.getAnalytics(ask, administrator);
    return buckets.map(({ startTime, endTime }) =>
      startTime && endTime ? (+timestampDate(endTime) - +timestampDate(startTime)) / 3_600_000 : undefined,
    );
  };
  expect(await hours('2026-03-27T23:00Z', '2026-03-30T22:00Z', 'Europe/Berlin')).toEqual([24, 23, 24]);
  expect(await hours('2026-10-23T22:00Z', '2026-10-26T23:00Z', 'Europe/Berlin')).toEqual([24, 25, 24]);
  expect(await hours('2026-03-27T18:30Z', '2026-03-30T18:30Z', 'Asia/Kolkata')).toEqual([24, 24, 24]);
});

test('13. a weekly schedule stays where it is on the clock when that changes', async () => {
  const doctor = await person(server, 'DOCTOR');
  const window = { localStart: '09:00', localEnd: '10:00', slotMinutes: 60 };
  const windows = [1, 2, 3, 4, 5, 6, 7].map((weekday) => ({ ...window, weekday: weekday as Weekday }));
  const plan = { timeZone: 'Europe/Berlin', windows, advanceDays: 400 };
  await clients.json.availability.createSchedule({ requestId: randomUUID(), plan }, doctor);
  const { rows } = await database.query(
    `SELECT to_char(start_at AT TIME ZONE 'Europe/Berlin', 'HH24:MI') AS wall, to_char(start_at AT TIME ZONE 'UTC', 'HH24:MI') AS utc
     FROM slot WHERE doctor_id = $1 GROUP BY 1, 2 ORDER BY 2`,
    [doctor.id],
  );
  expect(rows).toEqual([
    { wall: '09:00', utc: '07:00' },
    { wall: '09:00', utc: '08:00' },
  ]);
});

test('14. a reschedule moves the appointment, or leaves it as it was', async () => {
  const [held, taken, free] = (await slots(3)) as [Slot, Slot, Slot];
  const bookingId = idOf(await book(patient, held));
  await book(other, taken);
  const move = ({ id: newSlotId }: Slot) =>
    json(patient, ({ booking }, as) =>
      booking.rescheduleBooking({ requestId: randomUUID(), bookingId, newSlotId }, as),
    );
  const now = async () => (await clients.grpc.booking.getBooking({ bookingId }, patient)).booking;
  expect((await move(taken)).reason).toBe('SLOT_TAKEN');
  expect(await now()).toMatchObject({ slotId: held.id, state: BookingState.CONFIRMED });
  expect(idOf(await move(free))).toBe(bookingId);
  expect(await now()).toMatchObject({ slotId: free.id, state: BookingState.CONFIRMED });
  expect(await slotState(held.id)).toBe(SlotState.OPEN);
});
