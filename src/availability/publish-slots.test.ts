import { randomUUIDv7 as uuid } from 'node:crypto';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Slot, SlotState } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { BadRequestSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { type Clients, clientsOf, query, reasonOf, refusal } from '../../test/support/calls.ts';
import { brokenInvariants, openSlots, type Person, people, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
/** Midnight UTC the day after tomorrow. */
const BASE = Math.ceil(Date.now() / DAY + 1) * DAY;

let server: TestServer;
let clients: Clients;
let admin: Person;

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
  admin = await person(server, 'ADMINISTRATOR');
});

afterAll(async () => {
  expect(await brokenInvariants(server)).toEqual({});
  await server.stop();
});

type Minutes = readonly [start: number, end: number];

const at = (minute: number) => timestampFromMs(BASE + minute * MINUTE);
const times = ([start, end]: Minutes) => ({ startTime: at(start), endTime: at(end) });

const publish = async (doctor: Person, slots: readonly Minutes[], requestId: string = uuid()): Promise<Slot[]> =>
  (await clients.availability.publishSlots({ requestId, slots: slots.map(times) }, doctor)).slots;

const refused = (doctor: Person, slots: readonly Minutes[]) => refusal(publish(doctor, slots));

const countOf = async ({ id }: Person) =>
  (await query<{ count: number }>(server, sql`SELECT count(*)::integer AS count FROM slot WHERE doctor_id = ${id}`))[0]
    ?.count;

describe('a batch of slots', () => {
  test('is published whole, in the order asked', async () => {
    const doctor = await person(server, 'DOCTOR');
    const slots = await publish(doctor, [
      [120, 150],
      [0, 30],
      [60, 90],
    ]);
    expect(slots.map(({ startTime }) => startTime)).toEqual([at(120), at(0), at(60)]);
    expect(slots.map(({ endTime }) => endTime)).toEqual([at(150), at(30), at(90)]);
    expect(slots.every(({ doctorId, state }) => doctorId === doctor.id && state === SlotState.OPEN)).toBe(true);
    for (const slot of slots) expect((await clients.availability.getSlot({ slotId: slot.id })).slot).toEqual(slot);
  });

  test('of 500 goes in one call, and one more does not', async () => {
    const doctor = await person(server, 'DOCTOR');
    const many = Array.from({ length: 501 }, (_, i): Minutes => [i * 5, i * 5 + 5]);
    expect((await refused(doctor, many)).reason).toBe('FIELD_INVALID');
    expect(await publish(doctor, many.slice(1))).toHaveLength(500);
    expect(await countOf(doctor)).toBe(500);
  });

  test('without any slot is refused', async () => {
    expect((await refused(await person(server, 'DOCTOR'), [])).reason).toBe('FIELD_INVALID');
  });

  test('again, with the same request_id, is the same batch', async () => {
    const doctor = await person(server, 'DOCTOR');
    const requestId = uuid();
    const first = await publish(doctor, [[0, 30]], requestId);
    expect(await publish(doctor, [[0, 30]], requestId.toUpperCase())).toEqual(first);
    expect(await reasonOf(publish(doctor, [[30, 60]], requestId))).toBe('REQUEST_ID_REUSED');
    expect(await countOf(doctor)).toBe(1);
  });
});

describe('one bad slot keeps the whole batch out', () => {
  const good: Minutes = [0, 30];

  test.each<[string, Minutes[], string]>([
    ['the same time twice', [good, [60, 90], [60, 90]], '2'],
    ['a minute of overlap', [good, [60, 90], [89, 120]], '2'],
    ['one within another', [[60, 180], good, [90, 120]], '2'],
    ['one around another, asked first', [[90, 120], good, [60, 180]], '0'],
  ])('overlap within the batch: %s', async (_, slots, index) => {
    const doctor = await person(server, 'DOCTOR');
    expect(await refused(doctor, slots)).toMatchObject({
      reason: 'SLOT_OVERLAP',
      code: 'FailedPrecondition',
      metadata: { index },
    });
    expect(await countOf(doctor)).toBe(0);
  });

  test.each<[string, Minutes]>([
    ['the same', [60, 90]],
    ['its last minute', [89, 120]],
    ['its first minute', [30, 61]],
    ['within it', [70, 80]],
    ['around it', [50, 100]],
  ])('overlap with one published before: %s', async (_, slot) => {
    const doctor = await person(server, 'DOCTOR');
    await publish(doctor, [[60, 90]]);
    expect(await refused(doctor, [good, slot])).toMatchObject({ reason: 'SLOT_OVERLAP', metadata: { index: '1' } });
    expect(await countOf(doctor)).toBe(1);
  });

  const second = (seconds: number, nanos = 0) => ({ seconds: at(60).seconds + BigInt(seconds), nanos });

  test.each([
    ['a second after the minute', second(1)],
    ['a second before it', second(-1)],
    ['a nanosecond after it', second(0, 1)],
    ['a nanosecond before it', second(-1, 999_999_999)],
    ['a millisecond after it', second(0, 1_000_000)],
    ['half a millisecond before it', second(-1, 999_500_000)],
  ])('%s is no whole minute, at either end', async (_, time) => {
    const doctor = await person(server, 'DOCTOR');
    for (const [field, slot] of [
      ['slots[1].start_time', { startTime: time, endTime: at(90) }],
      ['slots[1].end_time', { startTime: at(45), endTime: time }],
    ] as const) {
      const slots = [times(good), slot];
      const { reason, error } = await refusal(clients.availability.publishSlots({ requestId: uuid(), slots }, doctor));
      expect(reason).toBe('FIELD_INVALID');
      expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations).toMatchObject([{ field }]);
    }
    expect(await countOf(doctor)).toBe(0);
  });

  test.each([
    [4, false],
    [5, true],
    [8 * 60, true],
    [8 * 60 + 1, false],
  ])('%d minutes: taken is %s', async (length, taken) => {
    const doctor = await person(server, 'DOCTOR');
    const result = await publish(doctor, [good, [60, 60 + length]]).catch(() => undefined);
    expect(result !== undefined).toBe(taken);
    expect(await countOf(doctor)).toBe(taken ? 2 : 0);
  });

  test('in the past, now, or more than 400 days ahead', async () => {
    const doctor = await person(server, 'DOCTOR');
    const minute = (Math.floor(Date.now() / MINUTE) * MINUTE - BASE) / MINUTE;
    expect((await refused(doctor, [good, [minute - 1440, minute - 1410]])).reason).toBe('SLOT_IN_PAST');
    expect((await refused(doctor, [good, [minute, minute + 30]])).reason).toBe('SLOT_IN_PAST');
    const furthest = minute + 400 * 1440;
    expect((await refused(doctor, [good, [furthest + 3, furthest + 33]])).reason).toBe('FIELD_INVALID');
    expect(await countOf(doctor)).toBe(0);
    expect(await publish(doctor, [good, [furthest, furthest + 30]])).toHaveLength(2);
  });
});

describe('who may publish', () => {
  test('a doctor who is pending or suspended may not, until approved; a refusal of that kind is not kept', async () => {
    const doctor = await person(server, 'DOCTOR');
    const requestId = uuid();
    await query(server, sql`UPDATE doctor SET state = 'PENDING' WHERE user_id = ${doctor.id}`);
    expect(await refusal(publish(doctor, [[0, 30]], requestId))).toMatchObject({
      reason: 'DOCTOR_NOT_APPROVED',
      code: 'PermissionDenied',
    });
    await clients.admin.approveDoctor({ doctorId: doctor.id }, admin);
    expect(await publish(doctor, [[0, 30]], requestId)).toHaveLength(1);
    await clients.admin.suspendDoctor({ doctorId: doctor.id }, admin);
    expect(await reasonOf(publish(doctor, [[60, 90]]))).toBe('DOCTOR_NOT_APPROVED');
    await clients.admin.approveDoctor({ doctorId: doctor.id }, admin);
    expect(await publish(doctor, [[60, 90]])).toHaveLength(1);
  });

  test('patients and administrators may not', async () => {
    for (const who of [await person(server, 'PATIENT'), admin])
      expect((await refused(who, [[0, 30]])).reason).toBe('ROLE_REQUIRED');
  });
});

describe('times that touch or come back', () => {
  test('one slot may begin when another ends, in the same batch or later', async () => {
    const doctor = await person(server, 'DOCTOR');
    await publish(doctor, [
      [30, 60],
      [0, 30],
    ]);
    await publish(doctor, [[60, 90]]);
    expect(await countOf(doctor)).toBe(3);
  });

  test('two doctors may have the same time', async () => {
    const doctors = await people(server, 'DOCTOR', 2);
    for (const doctor of doctors) expect(await publish(doctor, [[0, 30]])).toHaveLength(1);
  });

  test('a withdrawn time can be published anew, as another slot', async () => {
    const doctor = await person(server, 'DOCTOR');
    const [slot] = (await publish(doctor, [[0, 30]])) as [Slot];
    const withdrawn = await clients.availability.withdrawSlot({ requestId: uuid(), slotId: slot.id }, doctor);
    expect(withdrawn.slot?.state).toBe(SlotState.WITHDRAWN);
    const [again] = (await publish(doctor, [[0, 30]])) as [Slot];
    expect(again.id).not.toBe(slot.id);
    expect(
      await refusal(clients.availability.withdrawSlot({ requestId: uuid(), slotId: slot.id }, doctor)),
    ).toMatchObject({
      reason: 'SLOT_NOT_OPEN',
      metadata: { state: 'WITHDRAWN' },
    });
  });

  test('only its doctor withdraws a slot, and only while it is open', async () => {
    const [doctor, other] = (await people(server, 'DOCTOR', 2)) as [Person, Person];
    const [slot] = await openSlots(server, doctor.id);
    const slotId = slot?.id as string;
    const withdraw = (by: Person) => clients.availability.withdrawSlot({ requestId: uuid(), slotId }, by);
    expect(await reasonOf(withdraw(other))).toBe('SLOT_NOT_FOUND');
    await clients.booking.bookSlot({ requestId: uuid(), slotId }, await person(server, 'PATIENT'));
    expect(await refusal(withdraw(doctor))).toMatchObject({ reason: 'SLOT_NOT_OPEN', metadata: { state: 'BOOKED' } });
  });
});

describe('at once', () => {
  test('opposite batches of one doctor: one wins whole, the others are refused, nobody deadlocks', async () => {
    const doctor = await person(server, 'DOCTOR');
    const batch = Array.from({ length: 40 }, (_, i): Minutes => [i * 30, i * 30 + 30]);
    const results = await Promise.all(
      Array.from({ length: 6 }, (_, i) =>
        publish(doctor, i % 2 ? batch : batch.toReversed()).then(
          () => 'published',
          async (error: unknown) => reasonOf(Promise.reject(error)),
        ),
      ),
    );
    expect(results.sort()).toEqual([...Array(5).fill('SLOT_OVERLAP'), 'published']);
    expect(await countOf(doctor)).toBe(40);
  });
});

test('whatever is asked: a batch goes in whole when nothing overlaps, and not at all when something does', async () => {
  const slot = fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 6 }));
  const batch = fc.array(slot, { minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 4 }), async (batches) => {
      const doctor = await person(server, 'DOCTOR');
      const taken: Minutes[] = [];
      for (const asked of batches) {
        const slots = asked.map(([start, length]): Minutes => [start * 5, (start + length) * 5]);
        const all = [...taken, ...slots];
        const overlaps = all.some(([s, e], i) => all.some(([s2, e2], j) => i < j && s < e2 && s2 < e));
        const outcome = await publish(doctor, slots).then(
          () => 'published',
          (e) => reasonOf(Promise.reject(e)),
        );
        expect(outcome).toBe(overlaps ? 'SLOT_OVERLAP' : 'published');
        if (!overlaps) taken.push(...slots);
        expect(await countOf(doctor)).toBe(taken.length);
      }
    }),
    { numRuns: 20 },
  );
});
