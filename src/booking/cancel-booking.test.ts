import { randomUUIDv7 as uuid } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import { SlotState } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { type Booking, BookingState } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { type Clients, clientsOf, reasonOf, refusal } from '../../test/support/calls.ts';
import { brokenInvariants, openSlots, type Person, people, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import type { Slot } from '../availability/slot.entity.ts';

const MINUTE = 60_000;

let server: TestServer;
let clients: Clients;
let admin: Person;
let patient: Person;
let doctor: Person;
let slot: Slot;
let booking: Booking;

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
  admin = await person(server, 'ADMINISTRATOR');
});

afterEach(() => server.shift(0));

afterAll(async () => {
  expect(await brokenInvariants(server)).toEqual({});
  await server.stop();
});

/** A confirmed booking that begins in an hour, of people who have nothing else. */
async function appointment(): Promise<void> {
  [patient, doctor] = await Promise.all([person(server, 'PATIENT'), person(server, 'DOCTOR')]);
  [slot] = (await openSlots(server, doctor.id)) as [Slot];
  booking = (await clients.booking.bookSlot({ requestId: uuid(), slotId: slot.id }, patient)).booking as Booking;
}

const cancel = async (by: Person, { reason = 'no time', requestId = uuid() } = {}) =>
  (await clients.booking.cancelBooking({ requestId, bookingId: booking.id, reason }, by)).booking as Booking;

const slotNow = async () => (await clients.availability.getSlot({ slotId: slot.id }, doctor)).slot?.state;
const book = (by: Person) => clients.booking.bookSlot({ requestId: uuid(), slotId: slot.id }, by);

/** Moves the clock to so many minutes after the start of the slot. */
const afterStart = (minutes: number) => server.shift(slot.startAt.getTime() + minutes * MINUTE - Date.now());

describe('a patient cancels', () => {
  test('before the start: the slot opens again, and somebody else books it', async () => {
    await appointment();
    expect(await cancel(patient)).toMatchObject({
      id: booking.id,
      state: BookingState.CANCELLED,
      cancelReason: 'no time',
      cancelledByRole: Role.PATIENT,
      slotId: slot.id,
    });
    expect(await slotNow()).toBe(SlotState.OPEN);
    await book(await person(server, 'PATIENT'));
    expect(await slotNow()).toBe(SlotState.BOOKED);
  });

  test('and may change their mind, again and again: the slot is as good as new', async () => {
    await appointment();
    for (let i = 0; i < 3; i++) {
      await cancel(patient);
      booking = (await book(patient)).booking as Booking;
    }
    expect(booking.state).toBe(BookingState.CONFIRMED);
  });

  test('from the start on it is too late, and nothing changes', async () => {
    await appointment();
    afterStart(0.01);
    expect(await refusal(cancel(patient))).toMatchObject({
      reason: 'TOO_LATE',
      metadata: { until: slot.startAt.toISOString() },
    });
    expect(await slotNow()).toBe(SlotState.BOOKED);
  });

  test('also after having checked in', async () => {
    await appointment();
    afterStart(-10);
    await clients.booking.checkIn({ requestId: uuid(), bookingId: booking.id }, patient);
    expect((await cancel(patient)).state).toBe(BookingState.CANCELLED);
    expect(await slotNow()).toBe(SlotState.OPEN);
  });

  test('and is free at that time', async () => {
    await appointment();
    const colleague = await person(server, 'DOCTOR');
    const [same] = (await openSlots(server, colleague.id)) as [Slot];
    const other = () => clients.booking.bookSlot({ requestId: uuid(), slotId: same.id }, patient);
    expect(await reasonOf(other())).toBe('PATIENT_BUSY');
    await cancel(patient);
    expect((await other()).booking?.state).toBe(BookingState.CONFIRMED);
  });
});

describe.each([
  ['the doctor', () => doctor, Role.DOCTOR],
  ['an administrator', () => admin, Role.ADMINISTRATOR],
])('%s cancels', (_, who, role) => {
  test.each([
    ['before the start', -30],
    ['after the end', 45],
  ])('%s: the slot is withdrawn, nobody books it', async (_when, minutes) => {
    await appointment();
    afterStart(minutes);
    expect(await cancel(who())).toMatchObject({ state: BookingState.CANCELLED, cancelledByRole: role });
    expect(await slotNow()).toBe(SlotState.WITHDRAWN);
    expect(await reasonOf(book(await person(server, 'PATIENT')))).toBe('SLOT_NOT_FOUND');
  });
});

describe('whose booking', () => {
  test('somebody else’s is not found, and stays', async () => {
    await appointment();
    const [stranger] = (await people(server, 'PATIENT', 1)) as [Person];
    const [colleague] = (await people(server, 'DOCTOR', 1)) as [Person];
    for (const who of [stranger, colleague]) expect(await reasonOf(cancel(who))).toBe('BOOKING_NOT_FOUND');
    expect((await clients.booking.getBooking({ bookingId: booking.id }, patient)).booking).toEqual(booking);
  });

  test('one that never was isn’t either', async () => {
    await appointment();
    const call = clients.booking.cancelBooking({ requestId: uuid(), bookingId: uuid() }, admin);
    expect(await refusal(call)).toMatchObject({ reason: 'BOOKING_NOT_FOUND', code: 'NotFound' });
  });
});

describe('a second cancel', () => {
  test('is refused: it is cancelled already', async () => {
    await appointment();
    await cancel(patient);
    for (const who of [patient, doctor, admin])
      expect(await refusal(cancel(who))).toMatchObject({ reason: 'BOOKING_STATE', metadata: { state: 'CANCELLED' } });
    expect(await slotNow()).toBe(SlotState.OPEN);
  });

  test('never frees the slot of who booked it since, not even as a late duplicate of the first', async () => {
    await appointment();
    const requestId = uuid();
    const cancelled = await cancel(patient, { requestId });
    await book(await person(server, 'PATIENT'));
    expect(await cancel(patient, { requestId })).toEqual(cancelled);
    expect(await reasonOf(cancel(patient))).toBe('BOOKING_STATE');
    expect(await slotNow()).toBe(SlotState.BOOKED);
  });

  test('of both sides at once: one cancels', async () => {
    await appointment();
    const results = await Promise.all(
      [patient, doctor, admin].map((who) =>
        cancel(who).then(
          () => 'cancelled',
          (e) => reasonOf(Promise.reject(e)),
        ),
      ),
    );
    expect(results.sort()).toEqual(['BOOKING_STATE', 'BOOKING_STATE', 'cancelled']);
    expect(await slotNow()).not.toBe(SlotState.BOOKED);
  });
});

test('a cancel that races a completion: one of them counts, and the other is told the state', async () => {
  for (let i = 0; i < 5; i++) {
    await appointment();
    afterStart(1);
    await clients.booking.startConsultation({ requestId: uuid(), bookingId: booking.id }, doctor);
    const [completed, cancelled] = await Promise.all([
      clients.booking.completeConsultation({ requestId: uuid(), bookingId: booking.id }, doctor).then(() => 'done'),
      reasonOf(cancel(admin)),
    ]);
    expect([completed, cancelled]).toEqual(['done', 'BOOKING_STATE']);
    expect(await slotNow()).toBe(SlotState.BOOKED);
    server.shift(0);
  }
});
