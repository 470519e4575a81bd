import { randomUUIDv7 as uuid } from 'node:crypto';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Booking, BookingState } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { BadRequestSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { type Clients, clientsOf, query, reasonOf, refusal } from '../../test/support/calls.ts';
import { openSlots, type Person, people, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import type { Slot } from '../availability/slot.entity.ts';
import { sql } from '../db/sql.ts';

let server: TestServer;
let clients: Clients;
let doctors: readonly [Person, Person];
let patients: readonly [Person, Person];
let admin: Person;
let slots: Slot[];
/** By start: patient 0 with doctor 0, patient 1 with doctor 0, patient 0 with doctor 1 (cancelled), patient 1 with doctor 1. */
let bookings: readonly [Booking, Booking, Booking, Booking];

const book = async (slot: Slot | undefined, by: Person) =>
  (await clients.booking.bookSlot({ requestId: uuid(), slotId: slot?.id }, by)).booking as Booking;

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
  doctors = (await people(server, 'DOCTOR', 2)) as unknown as typeof doctors;
  patients = (await people(server, 'PATIENT', 2)) as unknown as typeof patients;
  admin = await person(server, 'ADMINISTRATOR');
  slots = [
    ...(await openSlots(server, doctors[0].id, { count: 2, inMinutes: 60 })),
    ...(await openSlots(server, doctors[1].id, { count: 2, inMinutes: 240 })),
  ];
  bookings = [
    await book(slots[0], patients[0]),
    await book(slots[1], patients[1]),
    await book(slots[2], patients[0]),
    await book(slots[3], patients[1]),
  ];
  await clients.booking.cancelBooking({ requestId: uuid(), bookingId: bookings[2].id }, patients[0]);
});

afterAll(() => server.stop());

type Ask = Parameters<Clients['booking']['listBookings']>[0];

/** Which of `bookings` are listed, in the order of the list. */
const listed = async (who: Person, ask: Ask = {}) =>
  (await clients.booking.listBookings(ask, who)).bookings.map(({ id }) => bookings.findIndex((one) => one.id === id));

const purpose = 'complaint 4711';
const readsOnRecord = () =>
  query<Record<string, unknown>>(
    server,
    sql`SELECT actor_id, actor_role, session_id, action, outcome, reason, entity_type, entity_id, patient_id FROM audit_event
        WHERE action IN ('ListBookings', 'GetBooking') ORDER BY recorded_at, id`,
  );

describe('who sees what', () => {
  test('patients their own, by start', async () => {
    expect(await listed(patients[0])).toEqual([0, 2]);
    expect(await listed(patients[1])).toEqual([1, 3]);
  });

  test('doctors those of their slots, by start', async () => {
    expect(await listed(doctors[0])).toEqual([0, 1]);
    expect(await listed(doctors[1])).toEqual([2, 3]);
  });

  test('administrators all, by start', async () => {
    expect(await listed(admin, { purpose })).toEqual([0, 1, 2, 3]);
  });

  test('nobody finds another’s by asking for it', async () => {
    expect(await listed(patients[0], { patientId: patients[1].id })).toEqual([]);
    expect(await listed(doctors[0], { doctorId: doctors[1].id })).toEqual([]);
    const own = [patients[0], doctors[0], patients[1], doctors[1]] as const;
    const get = (who: Person) =>
      clients.booking.getBooking({ bookingId: bookings[0].id }, who).then(
        () => 'found',
        (e) => reasonOf(Promise.reject(e)),
      );
    expect(await Promise.all(own.map(get))).toEqual(['found', 'found', 'BOOKING_NOT_FOUND', 'BOOKING_NOT_FOUND']);
  });

  test('both sides see both names and the patient’s words', async () => {
    for (const who of [patients[0], doctors[0]]) {
      const { bookings: found } = await clients.booking.listBookings({}, who);
      expect(found[0]).toEqual(bookings[0]);
      expect(found[0]).toMatchObject({ doctorDisplayName: 'A doctor 0', patientDisplayName: 'A patient 0' });
    }
  });
});

describe('conditions', () => {
  const at = (index: number) => timestampFromDate((slots[index] as Slot).startAt);

  test.each<[string, () => Ask, number[]]>([
    ['one state', () => ({ states: [BookingState.CANCELLED] }), [2]],
    ['several states', () => ({ states: [BookingState.CANCELLED, BookingState.CONFIRMED] }), [0, 1, 2, 3]],
    ['a state that none has', () => ({ states: [BookingState.NO_SHOW] }), []],
    ['from a start on', () => ({ from: at(1) }), [1, 2, 3]],
    ['until a start, without it', () => ({ until: at(1) }), [0]],
    ['between', () => ({ from: at(1), until: at(3) }), [1, 2]],
    ['a doctor', () => ({ doctorId: doctors[1].id }), [2, 3]],
    ['a patient', () => ({ patientId: patients[1].id }), [1, 3]],
    ['a doctor and a patient', () => ({ doctorId: doctors[1].id, patientId: patients[1].id }), [3]],
  ])('%s', async (_, ask, expected) => {
    expect(await listed(admin, { ...ask(), purpose })).toEqual(expected);
  });

  test('a patient asks for one doctor, a doctor for one patient', async () => {
    expect(await listed(patients[0], { doctorId: doctors[0].id })).toEqual([0]);
    expect(await listed(doctors[0], { patientId: patients[1].id })).toEqual([1]);
  });
});

describe('pages', () => {
  test('hold every booking once, in order', async () => {
    const found: number[] = [];
    let pageToken = '';
    do {
      const page = await clients.booking.listBookings({ purpose, pageSize: 3, pageToken }, admin);
      found.push(...page.bookings.map(({ id }) => bookings.findIndex((one) => one.id === id)));
      pageToken = page.nextPageToken;
    } while (pageToken);
    expect(found).toEqual([0, 1, 2, 3]);
  });

  test('a token is good for its own conditions only, and never widens what is seen', async () => {
    const { nextPageToken: pageToken } = await clients.booking.listBookings({ purpose, pageSize: 1 }, admin);
    const changed: Ask = { pageToken, purpose, states: [BookingState.CONFIRMED] };
    expect(await reasonOf(listed(admin, changed))).toBe('PAGE_TOKEN_INVALID');
    expect(await listed(patients[0], { pageToken })).toEqual([2]);
  });
});

describe('administrators who read', () => {
  test.each(['', '   '])('must say why: "%s" won’t do', async (blank) => {
    const bookingId = bookings[0].id;
    for (const call of [
      () => clients.booking.listBookings({ purpose: blank }, admin),
      () => clients.booking.getBooking({ purpose: blank, bookingId }, admin),
    ]) {
      const { reason, error } = await refusal(call());
      expect(reason).toBe('FIELD_INVALID');
      expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations).toMatchObject([{ field: 'purpose' }]);
    }
  });

  test('are on record with their purpose, a line for each patient whose data was seen', async () => {
    const before = (await readsOnRecord()).length;
    await clients.booking.getBooking({ bookingId: bookings[0].id, purpose }, admin);
    await clients.booking.listBookings({ patientId: patients[1].id, purpose }, admin);
    await clients.booking.listBookings({ purpose }, admin);
    await clients.booking.listBookings({ purpose, states: [BookingState.NO_SHOW] }, admin);
    const actor = { actor_id: admin.id, actor_role: 'ADMINISTRATOR', session_id: admin.sessionId };
    const common = { ...actor, outcome: 'DONE', reason: purpose, entity_type: 'booking' };
    const listing = { ...common, action: 'ListBookings', entity_id: null };
    const lines = (await readsOnRecord()).slice(before);
    expect(lines).toHaveLength(5);
    expect(lines.slice(0, 2)).toEqual([
      { ...common, action: 'GetBooking', entity_id: bookings[0].id, patient_id: patients[0].id },
      { ...listing, patient_id: patients[1].id },
    ]);
    expect(lines.slice(2, 4)).toEqual(
      expect.arrayContaining(patients.map(({ id }) => ({ ...listing, patient_id: id }))),
    );
    expect(lines[4]).toEqual({ ...listing, patient_id: null });
  });

  test('who looked for one that isn’t there is on record too', async () => {
    const bookingId = uuid();
    expect(await reasonOf(clients.booking.getBooking({ bookingId, purpose }, admin))).toBe('BOOKING_NOT_FOUND');
    expect((await readsOnRecord()).at(-1)).toMatchObject({
      outcome: 'REFUSED',
      reason: 'BOOKING_NOT_FOUND',
      entity_id: bookingId,
    });
  });

  test('patients’ and doctors’ own reads are not', async () => {
    const before = (await readsOnRecord()).length;
    for (const who of [patients[0], doctors[0]]) {
      await clients.booking.getBooking({ bookingId: bookings[0].id, purpose }, who);
      await listed(who, { purpose });
    }
    expect(await readsOnRecord()).toHaveLength(before);
  });
});
