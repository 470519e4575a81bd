import { randomUUIDv7 as uuid } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { UserState } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { DoctorState } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingState } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { type Clients, clientsOf, query, reasonOf, refusal } from '../../test/support/calls.ts';
import { openSlots, type Person, people, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';

let server: TestServer;
let clients: Clients;
let admin: Person;

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
  admin = await person(server, 'ADMINISTRATOR');
});

afterAll(() => server.stop());

const suspendUser = (userId: string, by = admin) => clients.admin.suspendUser({ userId }, by);
const reinstateUser = (userId: string) => clients.admin.reinstateUser({ userId }, admin);
const approveDoctor = (doctorId: string) => clients.admin.approveDoctor({ doctorId }, admin);
const suspendDoctor = (doctorId: string) => clients.admin.suspendDoctor({ doctorId }, admin);

const liveSessions = async ({ id }: Person) =>
  (await query(server, sql`SELECT 1 FROM session WHERE user_id = ${id} AND revoked_at IS NULL`)).length;

const book = async (slotId: string | undefined, patient: Person) =>
  (await clients.booking.bookSlot({ requestId: uuid(), slotId }, patient)).booking;

/** A doctor and a patient with one appointment ahead, one that was cancelled and one slot that is open. */
async function appointment() {
  const [doctor, patient] = [await person(server, 'DOCTOR'), await person(server, 'PATIENT')];
  const [first, second, open] = await openSlots(server, doctor.id, { count: 3 });
  const booking = await book(first?.id, patient);
  const cancelled = await book(second?.id, patient);
  await clients.booking.cancelBooking({ requestId: uuid(), bookingId: cancelled?.id }, patient);
  return { doctor, patient, bookingId: booking?.id as string, openId: open?.id as string };
}

describe('suspending an account', () => {
  test('says which appointments lie ahead, ends every session, and leaves the appointments', async () => {
    const { patient, doctor, bookingId } = await appointment();
    const { user, upcomingBookings } = await suspendUser(patient.id);
    expect(user).toMatchObject({ id: patient.id, state: UserState.SUSPENDED, doctorState: DoctorState.UNSPECIFIED });
    expect(upcomingBookings).toBe(1n);
    expect(await liveSessions(patient)).toBe(0);
    expect((await clients.booking.getBooking({ bookingId }, doctor)).booking?.state).toBe(BookingState.CONFIRMED);
  });

  test('again, changes nothing', async () => {
    const { id } = await person(server, 'PATIENT');
    const first = await suspendUser(id);
    const [before] = await query(server, sql`SELECT * FROM app_user WHERE id = ${id}`);
    expect((await suspendUser(id)).user).toEqual(first.user);
    expect(await query(server, sql`SELECT * FROM app_user WHERE id = ${id}`)).toEqual([before]);
  });

  test('of a doctor suspends the doctor too; reinstating lifts only the account’s', async () => {
    const { doctor, patient, bookingId, openId } = await appointment();
    const { user, upcomingBookings } = await suspendUser(doctor.id);
    expect(user).toMatchObject({ state: UserState.SUSPENDED, doctorState: DoctorState.SUSPENDED });
    expect(upcomingBookings).toBe(1n);
    expect(await reasonOf(book(openId, patient))).toBe('SLOT_NOT_FOUND');
    expect((await clients.booking.getBooking({ bookingId }, patient)).booking?.state).toBe(BookingState.CONFIRMED);

    const reinstated = await reinstateUser(doctor.id);
    expect(reinstated.user).toMatchObject({ state: UserState.ACTIVE, doctorState: DoctorState.SUSPENDED });
    expect(await reasonOf(book(openId, patient))).toBe('SLOT_NOT_FOUND');

    expect((await approveDoctor(doctor.id)).doctor?.state).toBe(DoctorState.ACTIVE);
    expect((await book(openId, patient))?.state).toBe(BookingState.CONFIRMED);
  });

  test.each(['as it is written', 'in capitals'])('of oneself is refused, %s', async (how) => {
    const id = how === 'in capitals' ? admin.id.toUpperCase() : admin.id;
    expect(await refusal(suspendUser(id))).toMatchObject({ reason: 'FIELD_INVALID', code: 'InvalidArgument' });
    expect(await liveSessions(admin)).toBe(1);
  });

  test('of another administrator ends what they may do at once', async () => {
    const [one, other] = (await people(server, 'ADMINISTRATOR', 2)) as [Person, Person];
    await suspendUser(other.id, one);
    expect(await reasonOf(suspendUser(one.id, other))).toBe('ACCOUNT_SUSPENDED');
    expect(await liveSessions(one)).toBe(1);
  });

  test('of nobody is not found', async () => {
    for (const change of [suspendUser, reinstateUser])
      expect(await refusal(change(uuid()))).toMatchObject({ reason: 'USER_NOT_FOUND', code: 'NotFound' });
  });

  test('two administrators who suspend each other: at least one stays, nobody waits for ever', async () => {
    for (let i = 0; i < 5; i++) {
      const [one, other] = (await people(server, 'ADMINISTRATOR', 2)) as [Person, Person];
      const results = await Promise.all([
        suspendUser(other.id, one).then(
          () => 'done',
          (e) => reasonOf(Promise.reject(e)),
        ),
        suspendUser(one.id, other).then(
          () => 'done',
          (e) => reasonOf(Promise.reject(e)),
        ),
      ]);
      expect(results).toContain('done');
      for (const result of results) expect(['done', 'ACCOUNT_SUSPENDED', 'SESSION_REVOKED']).toContain(result);
    }
  });
});

test('reinstating an account that is active changes nothing, and its sessions live on', async () => {
  const patient = await person(server, 'PATIENT');
  expect((await reinstateUser(patient.id)).user?.state).toBe(UserState.ACTIVE);
  expect(await liveSessions(patient)).toBe(1);
});

describe('doctors', () => {
  test('who are pending are approved, and seen from then on', async () => {
    const doctor = await person(server, 'DOCTOR');
    await query(server, sql`UPDATE doctor SET state = 'PENDING' WHERE user_id = ${doctor.id}`);
    expect(await reasonOf(clients.availability.getDoctor({ doctorId: doctor.id }))).toBe('DOCTOR_NOT_FOUND');
    const { doctor: approved, upcomingBookings } = await approveDoctor(doctor.id);
    expect(approved).toMatchObject({ id: doctor.id, state: DoctorState.ACTIVE });
    expect(upcomingBookings).toBe(0n);
    expect((await clients.availability.getDoctor({ doctorId: doctor.id })).doctor).toEqual(approved);
    expect((await approveDoctor(doctor.id)).doctor).toEqual(approved);
  });

  test('who are suspended vanish with their slots; their appointments stay, and so do their sessions', async () => {
    const { doctor, patient, bookingId, openId } = await appointment();
    const { doctor: suspended, upcomingBookings } = await suspendDoctor(doctor.id);
    expect(suspended?.state).toBe(DoctorState.SUSPENDED);
    expect(upcomingBookings).toBe(1n);
    expect(await reasonOf(clients.availability.listSlots({ doctorId: doctor.id }))).toBe('DOCTOR_NOT_FOUND');
    expect(await reasonOf(clients.availability.getSlot({ slotId: openId }, patient))).toBe('SLOT_NOT_FOUND');
    expect(await reasonOf(book(openId, patient))).toBe('SLOT_NOT_FOUND');
    expect((await clients.booking.getBooking({ bookingId }, doctor)).booking?.state).toBe(BookingState.CONFIRMED);
    await clients.booking.cancelBooking({ requestId: uuid(), bookingId }, doctor);
    expect(await liveSessions(doctor)).toBe(1);
    expect((await suspendDoctor(doctor.id)).upcomingBookings).toBe(0n);
  });

  test('appointments that have begun or ended don’t lie ahead', async () => {
    const { doctor } = await appointment();
    server.shift(61 * 60_000);
    try {
      expect((await approveDoctor(doctor.id)).upcomingBookings).toBe(0n);
    } finally {
      server.shift(0);
    }
    expect((await approveDoctor(doctor.id)).upcomingBookings).toBe(1n);
  });

  test('who aren’t any are not found', async () => {
    const patient = await person(server, 'PATIENT');
    for (const id of [uuid(), patient.id, admin.id])
      for (const change of [approveDoctor, suspendDoctor])
        expect(await refusal(change(id))).toMatchObject({ reason: 'DOCTOR_NOT_FOUND', code: 'NotFound' });
  });

  test('a suspension that races a booking: the booking is made before it, or not at all', async () => {
    for (let i = 0; i < 5; i++) {
      const { doctor, patient, openId } = await appointment();
      const [{ upcomingBookings }, booked] = await Promise.all([
        suspendDoctor(doctor.id),
        book(openId, patient).then(
          () => 'booked',
          (e) => reasonOf(Promise.reject(e)),
        ),
      ]);
      expect(['booked', 'SLOT_NOT_FOUND']).toContain(booked);
      expect(await reasonOf(book(openId, await person(server, 'PATIENT')))).toBe('SLOT_NOT_FOUND');
      expect([1n, 2n]).toContain(upcomingBookings);
    }
  });
});
