import { randomUUIDv7 as uuid } from 'node:crypto';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SlotState } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { type Clients, clientsOf, query, reasonOf } from '../../test/support/calls.ts';
import { openSlots, type Person, people, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';
import type { Slot } from './slot.entity.ts';

const HOUR = 3_600_000;
const { OPEN, BOOKED, WITHDRAWN } = SlotState;

let server: TestServer;
let clients: Clients;
let doctor: Person;
let other: Person;
let patient: Person;
let admin: Person;
/** A begun, an open, a booked, a withdrawn and another open one, in the order of time. */
let slots: readonly [begun: Slot, open: Slot, booked: Slot, withdrawn: Slot, last: Slot];

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
  [doctor, other] = (await people(server, 'DOCTOR', 2)) as [Person, Person];
  [patient, admin] = await Promise.all([person(server, 'PATIENT'), person(server, 'ADMINISTRATOR')]);
  slots = (await openSlots(server, doctor.id, { count: 5, inMinutes: 120 })) as unknown as typeof slots;
  const [begun, , booked, withdrawn] = slots;
  await clients.booking.bookSlot({ requestId: uuid(), slotId: booked.id }, patient);
  await clients.availability.withdrawSlot({ requestId: uuid(), slotId: withdrawn.id }, doctor);
  await query(
    server,
    sql`UPDATE slot SET start_at = start_at - interval '1 day', end_at = end_at - interval '1 day' WHERE id = ${begun.id}`,
  );
});

afterAll(() => server.stop());

type Ask = Parameters<Clients['availability']['listSlots']>[0];

const nobody = { headers: {} };

async function listed(ask: Ask = {}, caller: { headers: object } = nobody): Promise<string[]> {
  const headers = caller.headers as Record<string, string>;
  const { slots } = await clients.availability.listSlots({ doctorId: doctor.id, ...ask }, { headers });
  return slots.map(({ id }) => id);
}

const ids = (...some: Slot[]) => some.map(({ id }) => id);
const longAgo = timestampFromDate(new Date(Date.now() - 72 * HOUR));

describe('who sees what', () => {
  test.each([
    ['nobody in particular', () => nobody],
    ['a patient, also the one who booked', () => patient],
    ['another doctor', () => other],
  ])('%s: the open ones that lie ahead, whatever is asked', async (_, caller) => {
    const [, open, , , last] = slots;
    for (const ask of [{}, { from: longAgo }, { from: longAgo, states: [OPEN, BOOKED, WITHDRAWN] }])
      expect(await listed(ask, caller())).toEqual(ids(open, last));
    expect(await listed({ from: longAgo, states: [BOOKED] }, caller())).toEqual([]);
  });

  test.each([
    ['the doctor', () => doctor],
    ['an administrator', () => admin],
  ])('%s: each, in every state', async (_, caller) => {
    const [begun, open, booked, withdrawn, last] = slots;
    expect(await listed({ from: longAgo }, caller())).toEqual(ids(begun, open, booked, withdrawn, last));
    expect(await listed({}, caller())).toEqual(ids(open, booked, withdrawn, last));
    expect(await listed({ states: [BOOKED, WITHDRAWN] }, caller())).toEqual(ids(booked, withdrawn));
    expect(await listed({ states: [BOOKED] }, caller())).toEqual(ids(booked));
  });

  test('the same holds for one slot', async () => {
    const [begun, open, booked, withdrawn] = slots;
    const get = (slot: Slot, caller: { headers: object }) =>
      clients.availability.getSlot({ slotId: slot.id }, { headers: caller.headers as Record<string, string> }).then(
        () => 'found',
        (error) => reasonOf(Promise.reject(error)),
      );
    for (const caller of [nobody, patient, other]) {
      expect(await get(open, caller)).toBe('found');
      for (const slot of [begun, booked, withdrawn]) expect(await get(slot, caller)).toBe('SLOT_NOT_FOUND');
    }
    for (const caller of [doctor, admin])
      for (const slot of [begun, open, booked, withdrawn]) expect(await get(slot, caller)).toBe('found');
  });

  test.each(['PENDING', 'SUSPENDED'])(
    'a doctor who is %s exists only for themselves and administrators',
    async (state) => {
      const hidden = await person(server, 'DOCTOR');
      const [slot] = (await openSlots(server, hidden.id)) as [Slot];
      await query(server, sql`UPDATE doctor SET state = ${state} WHERE user_id = ${hidden.id}`);
      const ask = { doctorId: hidden.id };
      for (const caller of [nobody, patient, other]) {
        expect(await reasonOf(listed(ask, caller))).toBe('DOCTOR_NOT_FOUND');
        const options = { headers: caller.headers as Record<string, string> };
        expect(await reasonOf(clients.availability.getSlot({ slotId: slot.id }, options))).toBe('SLOT_NOT_FOUND');
      }
      for (const caller of [hidden, admin]) expect(await listed(ask, caller)).toEqual([slot.id]);
    },
  );

  test('who is no doctor has no slots', async () => {
    for (const doctorId of [patient.id, admin.id, uuid()])
      expect(await reasonOf(listed({ doctorId }, admin))).toBe('DOCTOR_NOT_FOUND');
  });

  test('a doctor without slots has an empty list', async () => {
    expect(await listed({ doctorId: other.id })).toEqual([]);
  });
});

test('the range is half-open: a slot that starts at `from` is in it, one that starts at `until` is not', async () => {
  const [, open, booked, withdrawn, last] = slots;
  const range = (from: Slot, until: Slot) => ({
    from: timestampFromDate(from.startAt),
    until: timestampFromDate(until.startAt),
  });
  expect(await listed(range(open, last), doctor)).toEqual(ids(open, booked, withdrawn));
  expect(await listed(range(open, open), doctor)).toEqual([]);
  const after = timestampFromDate(new Date(open.startAt.getTime() + 1));
  expect(await listed({ from: after, until: timestampFromDate(last.startAt) }, doctor)).toEqual(ids(booked, withdrawn));
});

describe('pages', () => {
  let busy: Person;
  let all: string[];

  beforeAll(async () => {
    busy = await person(server, 'DOCTOR');
    all = (await openSlots(server, busy.id, { count: 300, minutes: 5 })).map(({ id }) => id);
    // Withdrawn ones may share a time: the order needs the id as well.
    await query(
      server,
      sql`INSERT INTO slot SELECT gen_random_uuid(), doctor_id, start_at, end_at, 'WITHDRAWN', now(), now() FROM slot WHERE id = ANY (${all.slice(0, 40)})`,
    );
  });

  async function walk(pageSize: number, more: Ask = {}): Promise<string[][]> {
    const pages: string[][] = [];
    let pageToken = '';
    do {
      const page = await clients.availability.listSlots({ doctorId: busy.id, ...more, pageSize, pageToken }, busy);
      pages.push(page.slots.map(({ id }) => id));
      pageToken = page.nextPageToken;
    } while (pageToken);
    return pages;
  }

  test('of any size, hold everything once, in order', async () => {
    const ordered = await query<{ id: string }>(
      server,
      sql`SELECT id FROM slot WHERE doctor_id = ${busy.id} ORDER BY start_at, id`,
    );
    const expected = ordered.map(({ id }) => id);
    expect(expected).toHaveLength(340);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 7, max: 400 }), async (size) => {
        const pages = await walk(size);
        expect(pages.flat()).toEqual(expected);
        expect(pages.every((page, i) => page.length === Math.min(size, 250) || i === pages.length - 1)).toBe(true);
      }),
      { numRuns: 8 },
    );
  });

  test('an exact fit has no empty page after it', async () => {
    expect((await walk(150, { states: [OPEN] })).map((page) => page.length)).toEqual([150, 150]);
  });

  test('have 50 slots by default and 250 at most', async () => {
    expect((await walk(0))[0]).toHaveLength(50);
    expect((await walk(1_000))[0]).toHaveLength(250);
    expect(await reasonOf(listed({ doctorId: busy.id, pageSize: -1 }))).toBe('FIELD_INVALID');
  });

  test('go on after a slot that has gone meanwhile', async () => {
    const fresh = await person(server, 'DOCTOR');
    const [a, b, c] = (await openSlots(server, fresh.id, { count: 3 })) as [Slot, Slot, Slot];
    const ask = { doctorId: fresh.id, pageSize: 2 };
    const { nextPageToken: pageToken } = await clients.availability.listSlots(ask);
    await clients.availability.withdrawSlot({ requestId: uuid(), slotId: b.id }, fresh);
    await clients.availability.withdrawSlot({ requestId: uuid(), slotId: a.id }, fresh);
    expect(await listed({ ...ask, pageToken })).toEqual([c.id]);
  });

  test('a token is good for its own query only', async () => {
    const ask = { doctorId: busy.id, pageSize: 10 };
    const { nextPageToken: pageToken } = await clients.availability.listSlots(ask);
    expect(await listed({ ...ask, pageSize: 20, pageToken })).toHaveLength(20);
    const others: Ask[] = [
      { doctorId: doctor.id },
      { states: [OPEN] },
      { from: longAgo },
      { until: timestampFromDate(new Date(Date.now() + HOUR)) },
      { pageToken: `${pageToken}A` },
      { pageToken: pageToken.slice(2) },
      { pageToken: 'AAAA' },
    ];
    for (const change of others)
      expect(await reasonOf(listed({ ...ask, pageToken, ...change }))).toBe('PAGE_TOKEN_INVALID');
  });
});
