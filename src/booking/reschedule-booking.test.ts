import { randomUUIDv7 as uuid } from 'node:crypto';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type Booking, BookingState, SlotAlternativesSchema } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { type Clients, clientsOf, query, reasonOf, refusal } from '../../test/support/calls.ts';
import { brokenInvariants, openSlots, type Person, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import type { Slot } from '../availability/slot.entity.ts';
import { sql } from '../db/sql.ts';

let server: TestServer;
let clients: Clients;
let patient: Person;
let doctor: Person;
/** Three slots, one after the other; the first is booked. */
let slots: readonly [held: Slot, next: Slot, last: Slot];
let booking: Booking;

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
});

afterEach(() => server.shift(0));

afterAll(async () => {
  expect(await brokenInvariants(server)).toEqual({});
  await server.stop();
});

const book = async (slot: Slot, by: Person) =>
  (await clients.booking.bookSlot({ requestId: uuid(), slotId: slot.id, reasonForVisit: 'cough' }, by))
    .booking as Booking;

async function appointment(): Promise<void> {
  [patient, doctor] = await Promise.all([person(server, 'PATIENT'), person(server, 'DOCTOR')]);
  slots = (await openSlots(server, doctor.id, { count: 3 })) as unknown as typeof slots;
  booking = await book(slots[0], patient);
}

const move = async (newSlotId: string, { by = patient, requestId = uuid() } = {}) =>
  (await clients.booking.rescheduleBooking({ requestId, bookingId: booking.id, newSlotId }, by)).booking as Booking;

const states = async () =>
  (
    await query<{ state: string }>(
      server,
      sql`SELECT state FROM slot WHERE doctor_id = ${doctor.id} ORDER BY start_at, id`,
    )
  ).map(({ state }) => state);

const now = async () => (await clients.booking.getBooking({ bookingId: booking.id }, patient)).booking;

describe('a reschedule', () => {
  test('moves the booking, keeps its id, gives the old slot back and takes the new one', async () => {
    await appointment();
    const [, next] = slots;
    const moved = await move(next.id);
    expect(moved).toMatchObject({
      id: booking.id,
      slotId: next.id,
      startTime: timestampFromDate(next.startAt),
      endTime: timestampFromDate(next.endAt),
      state: BookingState.CONFIRMED,
      reasonForVisit: 'cough',
      createTime: booking.createTime,
    });
    expect(await now()).toEqual(moved);
    expect(await states()).toEqual(['OPEN', 'BOOKED', 'OPEN']);
    expect((await book(slots[0], await person(server, 'PATIENT'))).state).toBe(BookingState.CONFIRMED);
  });

  test('there and back again, and again', async () => {
    await appointment();
    for (const to of [1, 0, 2, 1] as const) expect((await move(slots[to].id)).slotId).toBe(slots[to].id);
    expect(await states()).toEqual(['OPEN', 'BOOKED', 'OPEN']);
  });

  test('finds a slot however its id is written', async () => {
    await appointment();
    expect((await move(slots[1].id.toUpperCase())).slotId).toBe(slots[1].id);
  });

  test('repeated is the same one: a duplicate after a move back doesn’t move again', async () => {
    await appointment();
    const requestId = uuid();
    const moved = await move(slots[1].id, { requestId });
    await move(slots[2].id);
    expect(await move(slots[1].id, { requestId })).toEqual(moved);
    expect(await states()).toEqual(['OPEN', 'OPEN', 'BOOKED']);
  });

  test('may go to a time that overlaps its own', async () => {
    await appointment();
    const [held, next] = slots;
    await query(server, sql`UPDATE slot SET state = 'WITHDRAWN' WHERE id = ${next.id}`);
    const overlapping = uuid();
    await query(
      server,
      sql`INSERT INTO slot SELECT ${overlapping}::uuid, doctor_id, end_at, end_at + interval '2 hours', 'WITHDRAWN', now(), now() FROM slot WHERE id = ${held.id}`,
    );
    await query(server, sql`UPDATE booking SET end_at = end_at + interval '5 minutes' WHERE id = ${booking.id}`);
    await query(server, sql`UPDATE slot SET state = 'WITHDRAWN' WHERE id = ${slots[2].id}`);
    await query(server, sql`UPDATE slot SET state = 'OPEN' WHERE id = ${overlapping}`);
    expect((await move(overlapping)).slotId).toBe(overlapping);
  });
});

describe('nothing changes when', () => {
  const refused = async (call: Promise<unknown>, reason: string) => {
    const before = await states();
    const seen = await refusal(call);
    expect(seen.reason).toBe(reason);
    expect(await states()).toEqual(before);
    expect(await now()).toEqual(booking);
    return seen;
  };

  test('the new slot is taken: others are offered', async () => {
    await appointment();
    await book(slots[1], await person(server, 'PATIENT'));
    const { error } = await refused(move(slots[1].id), 'SLOT_TAKEN');
    const [detail] = error.findDetails(SlotAlternativesSchema);
    expect(detail?.slots.map(({ id }) => id)).toEqual([slots[2].id]);
  });

  test('it is the slot that it has: others are offered', async () => {
    await appointment();
    for (const id of [slots[0].id, slots[0].id.toUpperCase()]) {
      const { error } = await refused(move(id), 'SLOT_TAKEN');
      const [detail] = error.findDetails(SlotAlternativesSchema);
      expect(detail?.slots.map((slot) => slot.id)).toEqual([slots[1].id, slots[2].id]);
    }
  });

  test('it is another doctor’s, withdrawn, or none', async () => {
    await appointment();
    const [foreign] = (await openSlots(server, (await person(server, 'DOCTOR')).id, { inMinutes: 900 })) as [Slot];
    await clients.availability.withdrawSlot({ requestId: uuid(), slotId: slots[2].id }, doctor);
    for (const id of [foreign.id, slots[2].id, uuid()]) await refused(move(id), 'SLOT_NOT_FOUND');
  });

  test('the doctor isn’t active', async () => {
    await appointment();
    await query(server, sql`UPDATE doctor SET state = 'SUSPENDED' WHERE user_id = ${doctor.id}`);
    await refused(move(slots[1].id), 'SLOT_NOT_FOUND');
  });

  test('the patient is elsewhere then', async () => {
    await appointment();
    const colleague = await person(server, 'DOCTOR');
    const start = (slots[1].startAt.getTime() - Date.now()) / 60_000;
    const [same] = (await openSlots(server, colleague.id, { inMinutes: Math.floor(start) })) as [Slot];
    await book(same, patient);
    await refused(move(slots[1].id), 'PATIENT_BUSY');
  });

  test('it is somebody else’s booking', async () => {
    await appointment();
    await refused(move(slots[1].id, { by: await person(server, 'PATIENT') }), 'BOOKING_NOT_FOUND');
    await refused(move(slots[1].id, { by: doctor }), 'ROLE_REQUIRED');
  });

  test('it has begun', async () => {
    await appointment();
    server.shift(slots[0].startAt.getTime() - Date.now() + 500);
    const { metadata } = await refused(move(slots[1].id), 'TOO_LATE');
    expect(metadata).toEqual({ until: slots[0].startAt.toISOString() });
  });

  test('the new slot has begun', async () => {
    await appointment();
    booking = await move(slots[2].id);
    server.shift(slots[1].startAt.getTime() - Date.now() + 500);
    await refused(move(slots[1].id), 'SLOT_IN_PAST');
  });
});

test.each(['CHECKED_IN', 'CANCELLED'] as const)('a booking that is %s stays where it is', async (state) => {
  await appointment();
  const change = { requestId: uuid(), bookingId: booking.id };
  server.shift(slots[0].startAt.getTime() - Date.now() - 5 * 60_000);
  if (state === 'CHECKED_IN') await clients.booking.checkIn(change, patient);
  else await clients.booking.cancelBooking(change, patient);
  const before = await states();
  expect(await refusal(move(slots[1].id))).toMatchObject({ reason: 'BOOKING_STATE', metadata: { state } });
  expect(await states()).toEqual(before);
});

describe('at once', () => {
  test('two patients for one new slot: one moves, the other stays', async () => {
    await appointment();
    const rival = await person(server, 'PATIENT');
    const other = await book(slots[1], rival);
    const results = await Promise.all([
      move(slots[2].id).then(
        () => 'moved',
        (e) => reasonOf(Promise.reject(e)),
      ),
      clients.booking.rescheduleBooking({ requestId: uuid(), bookingId: other.id, newSlotId: slots[2].id }, rival).then(
        () => 'moved',
        (e) => reasonOf(Promise.reject(e)),
      ),
    ]);
    expect(results.sort()).toEqual(['SLOT_TAKEN', 'moved']);
    const left = await states();
    expect(left.filter((state) => state === 'BOOKED')).toHaveLength(2);
    expect(left[2]).toBe('BOOKED');
  });

  test('opposite moves of two patients, thirty times: no deadlock, nothing lost', async () => {
    await appointment();
    const rival = await person(server, 'PATIENT');
    const other = await book(slots[1], rival);
    for (let i = 0; i < 30; i++) {
      const [mine, theirs] = [(await now()) as Booking, other];
      const free = (
        await query<{ id: string }>(server, sql`SELECT id FROM slot WHERE doctor_id = ${doctor.id} AND state = 'OPEN'`)
      )[0];
      const results = await Promise.all([
        move(free?.id as string).then(
          () => 'moved',
          (e) => reasonOf(Promise.reject(e)),
        ),
        clients.booking
          .rescheduleBooking({ requestId: uuid(), bookingId: theirs.id, newSlotId: mine.slotId }, rival)
          .then(
            () => 'moved',
            (e) => reasonOf(Promise.reject(e)),
          ),
      ]);
      for (const result of results) expect(['moved', 'SLOT_TAKEN']).toContain(result);
    }
    expect((await states()).sort()).toEqual(['BOOKED', 'BOOKED', 'OPEN']);
  });
});
