import { randomUUIDv7 as uuid } from 'node:crypto';
import { durationMs, timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Bucket, type Figures } from '../../gen/amrutam/admin/v1/admin_pb.ts';
import { type Clients, clientsOf, query, reasonOf, refusal } from '../../test/support/calls.ts';
import { openSlots, type Person, people, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

let server: TestServer;
let clients: Clients;
let admin: Person;
let ann: Person;
let bob: Person;

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
  admin = await person(server, 'ADMINISTRATOR');
  [ann, bob] = [await person(server, 'DOCTOR', 'Dr. Ann'), await person(server, 'DOCTOR', 'Dr. Bob')];
});

afterAll(() => server.stop());

interface Ask {
  readonly from: Date;
  readonly until: Date;
  readonly bucket?: Bucket;
  readonly timeZone?: string;
  readonly doctorId?: string;
}

const report = ({ from, until, ...ask }: Ask) =>
  clients.admin.getAnalytics({ from: timestampFromDate(from), until: timestampFromDate(until), ...ask }, admin);

/** A slot of `doctor` in the state its booking left it in; `booked` says what became of the booking and when it was made. */
async function slot(
  doctor: Person,
  startAt: Date,
  { minutes, state, booking }: { minutes: number; state: string; booking?: { state: string; madeAt: Date } },
): Promise<string> {
  const id = uuid();
  const endAt = new Date(startAt.getTime() + minutes * MINUTE);
  await query(
    server,
    sql`INSERT INTO slot VALUES (${id}, ${doctor.id}, ${startAt}, ${endAt}, ${state}, ${startAt}, ${startAt})`,
  );
  if (booking) {
    const by = booking.state === 'CANCELLED' ? 'DOCTOR' : null;
    await query(
      server,
      sql`INSERT INTO booking VALUES (${uuid()}, ${id}, ${doctor.id}, ${(await person(server, 'PATIENT')).id}, ${startAt}, ${endAt},
            ${booking.state}, '', '', ${by}, ${booking.madeAt}, ${booking.madeAt})`,
    );
  }
  return id;
}

async function onRecord(
  at: Date,
  { action = 'BookSlot', outcome = 'REFUSED', reason = '', slotId = uuid() as string },
) {
  await query(
    server,
    sql`INSERT INTO audit_event (id, recorded_at, action, outcome, reason, entity_type, entity_id, trace_id, client_address, instance, changed_fields, xid)
        VALUES (${uuid()}, ${at}, ${action}, ${outcome}, ${reason}, 'slot', ${slotId}, '', '', '', '{}', pg_current_xact_id())`,
  );
}

/** Figures with times in hours after `from`, and without what protobuf adds. */
function plain(figures: Figures | undefined, from: Date) {
  if (!figures) throw new Error('no figures');
  const hours = (time: Figures['startTime']) => time && (timestampDate(time).getTime() - from.getTime()) / HOUR;
  return {
    hours: [hours(figures.startTime), hours(figures.endTime)],
    made: Number(figures.bookingsMade),
    refused: figures.refusals.map(({ reason, count }) => `${reason} ${count}`),
    rate: figures.bookingSuccessRate,
    became: [figures.cancelled, figures.completed, figures.noShows].map(Number),
    lead: figures.medianLeadTime && durationMs(figures.medianLeadTime) / HOUR,
    minutes: [figures.bookedMinutes, figures.publishedMinutes].map(Number),
    utilisation: figures.utilisation,
  };
}

describe('a history made by hand', () => {
  /** The first of the month after next: the audit log has room there. */
  const now = new Date();
  const from = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 2, 1));
  const until = new Date(from.getTime() + 4 * DAY);
  const at = (day: number, hour = 0) => new Date(from.getTime() + day * DAY + hour * HOUR);

  beforeAll(async () => {
    const anns = await slot(ann, at(0, 9), {
      minutes: 30,
      state: 'BOOKED',
      booking: { state: 'COMPLETED', madeAt: at(0, 8) },
    });
    await slot(ann, at(0, 10), { minutes: 60, state: 'OPEN' });
    await slot(ann, at(0, 12), { minutes: 30, state: 'WITHDRAWN', booking: { state: 'CANCELLED', madeAt: at(0, 9) } });
    const bobs = await slot(bob, at(0, 9), {
      minutes: 30,
      state: 'BOOKED',
      booking: { state: 'NO_SHOW', madeAt: at(-1) },
    });
    await slot(ann, at(2, 9), { minutes: 20, state: 'BOOKED', booking: { state: 'CONFIRMED', madeAt: at(0, 9) } });
    await slot(ann, at(2, 11), { minutes: 15, state: 'BOOKED', booking: { state: 'IN_PROGRESS', madeAt: at(-2) } });
    await slot(bob, at(2, 9), { minutes: 40, state: 'BOOKED', booking: { state: 'CONFIRMED', madeAt: at(2, 8.5) } });
    await slot(bob, at(3, 10), { minutes: 30, state: 'OPEN', booking: { state: 'CANCELLED', madeAt: at(2, 10) } });
    // Just outside: the slot before the range, and the one at its end, which was booked inside.
    await slot(ann, at(-1, 23.5), { minutes: 30, state: 'BOOKED', booking: { state: 'COMPLETED', madeAt: at(-3) } });
    await slot(ann, at(4), { minutes: 30, state: 'BOOKED', booking: { state: 'CONFIRMED', madeAt: at(3) } });

    await onRecord(at(0), { reason: 'SLOT_TAKEN', slotId: anns });
    await onRecord(at(0, 12), { reason: 'SLOT_TAKEN', slotId: anns });
    await onRecord(at(0, 23.999), { reason: 'PATIENT_BUSY', slotId: bobs });
    await onRecord(at(2, 1), { reason: 'SLOT_NOT_FOUND' });
    await onRecord(at(4), { reason: 'SLOT_TAKEN', slotId: anns });
    await onRecord(at(0, 1), { outcome: 'DONE' });
    await onRecord(at(0, 1), { action: 'CancelBooking', reason: 'BOOKING_STATE' });
  });

  const NOTHING = {
    made: 0,
    refused: [],
    rate: undefined,
    became: [0, 0, 0],
    lead: undefined,
    minutes: [0, 0],
    utilisation: undefined,
  };

  test('each day, also the one on which nothing happened', async () => {
    const { buckets } = await report({ from, until });
    expect(buckets.map((one) => plain(one, from))).toEqual([
      {
        hours: [0, 24],
        made: 3,
        refused: ['SLOT_TAKEN 2', 'PATIENT_BUSY 1'],
        rate: 0.5,
        became: [1, 1, 1],
        lead: 3,
        minutes: [60, 120],
        utilisation: 0.5,
      },
      { ...NOTHING, hours: [24, 48] },
      {
        hours: [48, 72],
        made: 2,
        refused: ['SLOT_NOT_FOUND 1'],
        rate: 2 / 3,
        became: [0, 0, 0],
        lead: 12.25,
        minutes: [75, 75],
        utilisation: 1,
      },
      { ...NOTHING, hours: [72, 96], made: 1, rate: 1, became: [1, 0, 0], lead: 24, minutes: [0, 30], utilisation: 0 },
    ]);
  });

  test('in total; the median is that of all, not the one of the days’ medians', async () => {
    const { totals } = await report({ from, until });
    expect(plain(totals, from)).toEqual({
      hours: [0, 96],
      made: 6,
      refused: ['SLOT_TAKEN 2', 'PATIENT_BUSY 1', 'SLOT_NOT_FOUND 1'],
      rate: 0.6,
      became: [2, 1, 1],
      lead: 13.5,
      minutes: [135, 225],
      utilisation: 0.6,
    });
  });

  test('the busiest doctors, most bookings first; cancelled ones don’t count', async () => {
    const { busiestDoctors } = await report({ from, until });
    expect(busiestDoctors).toMatchObject([
      { doctorId: ann.id, displayName: 'Dr. Ann', bookings: 3n, bookedMinutes: 65n },
      { doctorId: bob.id, displayName: 'Dr. Bob', bookings: 2n, bookedMinutes: 70n },
    ]);
  });

  test('of one doctor: with the refusals of that doctor’s slots', async () => {
    const { totals, busiestDoctors } = await report({ from, until, doctorId: ann.id });
    expect(plain(totals, from)).toEqual({
      hours: [0, 96],
      made: 4,
      refused: ['SLOT_TAKEN 2'],
      rate: 4 / 6,
      became: [1, 1, 0],
      lead: 13.5,
      minutes: [65, 125],
      utilisation: 65 / 125,
    });
    expect(busiestDoctors.map(({ doctorId }) => doctorId)).toEqual([ann.id]);
  });

  test.each([Bucket.HOUR, Bucket.DAY, Bucket.WEEK, Bucket.MONTH])(
    'however it is cut (%d), the buckets meet, cover the range and add up to the totals',
    async (bucket) => {
      const { buckets, totals } = await report({ from, until, bucket, timeZone: 'Asia/Kolkata' });
      const all = buckets.map((one) => plain(one, from));
      expect(all[0]?.hours[0]).toBe(0);
      expect(all.at(-1)?.hours[1]).toBe(96);
      for (const [i, one] of all.slice(1).entries()) expect(one.hours[0]).toBe(all[i]?.hours[1]);
      const sum = (of: (one: ReturnType<typeof plain>) => number) => all.reduce((total, one) => total + of(one), 0);
      const whole = plain(totals, from);
      expect(sum(({ made }) => made)).toBe(whole.made);
      expect(sum(({ minutes }) => minutes[1] as number)).toBe(whole.minutes[1]);
      expect(sum(({ refused }) => refused.reduce((n, line) => n + Number(line.split(' ')[1]), 0))).toBe(4);
    },
  );

  test('a range in which nothing happened has buckets without figures', async () => {
    const quiet = new Date('1990-01-01T00:00:00Z');
    const { buckets, totals, busiestDoctors } = await report({ from: quiet, until: new Date(quiet.getTime() + DAY) });
    expect(buckets.map((one) => plain(one, quiet))).toEqual([{ ...NOTHING, hours: [0, 24] }]);
    expect(plain(totals, quiet)).toEqual({ ...NOTHING, hours: [0, 24] });
    expect(busiestDoctors).toEqual([]);
  });
});

test('at most ten doctors are the busiest', async () => {
  const from = new Date('1995-01-01T00:00:00Z');
  const doctors = await people(server, 'DOCTOR', 11);
  for (const [i, doctor] of doctors.entries())
    for (let n = 0; n <= i; n++)
      await slot(doctor, new Date(from.getTime() + n * HOUR), {
        minutes: 10,
        state: 'BOOKED',
        booking: { state: 'COMPLETED', madeAt: from },
      });
  const { busiestDoctors } = await report({ from, until: new Date(from.getTime() + DAY) });
  expect(busiestDoctors.map(({ doctorId }) => doctorId)).toEqual(
    doctors
      .slice(1)
      .toReversed()
      .map(({ id }) => id),
  );
});

test('repetitions count once, reschedules not at all', async () => {
  const doctor = await person(server, 'DOCTOR');
  const [patient, rival] = await people(server, 'PATIENT', 2);
  const [first, second] = await openSlots(server, doctor.id, { count: 2 });
  const [made, refused] = [
    { requestId: uuid(), slotId: first?.id },
    { requestId: uuid(), slotId: first?.id },
  ];
  let bookingId = '';
  for (let i = 0; i < 3; i++) {
    bookingId = (await clients.booking.bookSlot(made, patient)).booking?.id ?? '';
    expect(await reasonOf(clients.booking.bookSlot(refused, rival))).toBe('SLOT_TAKEN');
  }
  await clients.booking.rescheduleBooking({ requestId: uuid(), bookingId, newSlotId: second?.id }, patient);
  const moveAgain = { requestId: uuid(), bookingId, newSlotId: second?.id };
  expect(await reasonOf(clients.booking.rescheduleBooking(moveAgain, patient))).toBe('SLOT_TAKEN');
  const [from, until] = [new Date(Date.now() - HOUR), new Date(Date.now() + HOUR)];
  const { totals } = await report({ from, until, doctorId: doctor.id });
  expect(plain(totals, from)).toMatchObject({ made: 1, refused: ['SLOT_TAKEN 1'], rate: 0.5 });
});

describe('where buckets begin', () => {
  const cut = async (from: string, until: string, bucket: Bucket, timeZone: string) => {
    const { buckets } = await report({ from: new Date(from), until: new Date(until), bucket, timeZone });
    return buckets.map(({ startTime, endTime }) => {
      const [start, end] = [startTime, endTime].map((time) => timestampDate(time as NonNullable<typeof time>));
      return `${start?.toISOString().slice(0, 16)} ${((end?.getTime() ?? 0) - (start?.getTime() ?? 0)) / HOUR}`;
    });
  };

  test.each([
    [
      'Europe/Berlin, spring',
      'Europe/Berlin',
      '2025-03-28T23:00Z',
      ['2025-03-28T23:00 24', '2025-03-29T23:00 23', '2025-03-30T22:00 24'],
    ],
    [
      'Europe/Berlin, autumn',
      'Europe/Berlin',
      '2025-10-24T22:00Z',
      ['2025-10-24T22:00 24', '2025-10-25T22:00 25', '2025-10-26T23:00 24'],
    ],
    [
      'America/New_York, spring',
      'America/New_York',
      '2025-03-08T05:00Z',
      ['2025-03-08T05:00 24', '2025-03-09T05:00 23', '2025-03-10T04:00 24'],
    ],
    [
      'America/New_York, autumn',
      'America/New_York',
      '2025-11-01T04:00Z',
      ['2025-11-01T04:00 24', '2025-11-02T04:00 25', '2025-11-03T05:00 24'],
    ],
    [
      'America/Havana, where midnight comes twice',
      'America/Havana',
      '2025-11-01T04:00Z',
      ['2025-11-01T04:00 24', '2025-11-02T04:00 25', '2025-11-03T05:00 24'],
    ],
    [
      'Asia/Kolkata',
      'Asia/Kolkata',
      '2025-03-08T18:30Z',
      ['2025-03-08T18:30 24', '2025-03-09T18:30 24', '2025-03-10T18:30 24'],
    ],
  ])('days are the zone’s, and 23 or 25 hours long when the clocks change: %s', async (_, zone, from, expected) => {
    const hours = expected.reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
    const until = new Date(Date.parse(from) + hours * HOUR).toISOString();
    expect(await cut(from, until, Bucket.DAY, zone)).toEqual(expected);
    expect(await cut(from, until, Bucket.UNSPECIFIED, zone)).toEqual(expected);
  });

  test('what happens around midnight of the zone counts on the right day', async () => {
    for (const [startAt, minutes] of [
      ['2025-10-25T21:50Z', 5],
      ['2025-10-25T22:00Z', 10],
      ['2025-10-26T22:55Z', 5],
      ['2025-10-26T23:00Z', 40],
    ] as const)
      await slot(ann, new Date(startAt), { minutes, state: 'OPEN' });
    const { buckets } = await report({
      from: new Date('2025-10-24T22:00Z'),
      until: new Date('2025-10-27T22:59Z'), // not what was asked before: that is kept
      timeZone: 'Europe/Berlin',
    });
    expect(buckets.map(({ publishedMinutes }) => publishedMinutes)).toEqual([5n, 15n, 40n]);
  });

  test('the hour that comes twice is two, the one that is skipped is none', async () => {
    const hours = (first: string, count: number) =>
      Array.from({ length: count }, (_, i) => `${new Date(Date.parse(first) + i * HOUR).toISOString().slice(0, 16)} 1`);
    expect(await cut('2025-10-25T22:00Z', '2025-10-26T23:00Z', Bucket.HOUR, 'Europe/Berlin')).toEqual(
      hours('2025-10-25T22:00Z', 25),
    );
    expect(await cut('2025-03-29T23:00Z', '2025-03-30T22:00Z', Bucket.HOUR, 'Europe/Berlin')).toEqual(
      hours('2025-03-29T23:00Z', 23),
    );
  });

  test('hours begin on the hour of the zone, and the first and last are cut', async () => {
    expect(await cut('2025-06-01T10:15Z', '2025-06-01T12:00Z', Bucket.HOUR, 'Asia/Kolkata')).toEqual([
      '2025-06-01T10:15 0.25',
      '2025-06-01T10:30 1',
      '2025-06-01T11:30 0.5',
    ]);
    // In the second of the two hours that are called two o'clock.
    expect(await cut('2025-10-26T01:15Z', '2025-10-26T02:30Z', Bucket.HOUR, 'Europe/Berlin')).toEqual([
      '2025-10-26T01:15 0.75',
      '2025-10-26T02:00 0.5',
    ]);
  });

  test('weeks begin on Monday', async () => {
    expect(await cut('2025-10-22T12:00Z', '2025-11-05T12:00Z', Bucket.WEEK, 'Europe/Berlin')).toEqual([
      `2025-10-22T12:00 ${4 * 24 + 11}`,
      '2025-10-26T23:00 168',
      '2025-11-02T23:00 61',
    ]);
  });

  test('months begin on the first', async () => {
    expect(await cut('2025-01-15T00:00Z', '2025-04-10T00:00Z', Bucket.MONTH, 'America/New_York')).toEqual([
      `2025-01-15T00:00 ${17 * 24 + 5}`,
      `2025-02-01T05:00 ${28 * 24}`,
      `2025-03-01T05:00 ${31 * 24 - 1}`,
      `2025-04-01T04:00 ${9 * 24 - 4}`,
    ]);
  });
});

describe('what can be asked', () => {
  const from = new Date('2025-01-01T00:00:00Z');
  const after = (ms: number) => new Date(from.getTime() + ms);

  test.each([
    ['400 hours', 400 * HOUR, Bucket.HOUR, 400],
    ['400 days', 400 * DAY, Bucket.DAY, 400],
    ['a millisecond', 1, Bucket.MONTH, 1],
  ])('%s: %#', async (_, ms, bucket, count) => {
    expect((await report({ from, until: after(ms), bucket })).buckets).toHaveLength(count);
  });

  test.each([
    ['more than 400 hours', { from, until: after(400 * HOUR + 1), bucket: Bucket.HOUR }],
    ['400 hours that touch 401', { from: after(1), until: after(400 * HOUR + 1), bucket: Bucket.HOUR }],
    ['more than 400 days', { from, until: after(400 * DAY + 1) }],
    ['two centuries of hours', { from: new Date(0), until: new Date('2199-12-31'), bucket: Bucket.HOUR }],
    ['an empty range', { from, until: from }],
    ['a range that goes backwards', { from: after(1), until: from }],
    ['a zone that isn’t one', { from, until: after(DAY), timeZone: 'Mars/Olympus' }],
  ])('%s is refused', async (_, ask) => {
    expect(await refusal(report(ask))).toMatchObject({ reason: 'FIELD_INVALID', code: 'InvalidArgument' });
  });

  test('a doctor who doesn’t exist isn’t found; one who isn’t active is', async () => {
    const hidden = await person(server, 'DOCTOR');
    await query(server, sql`UPDATE doctor SET state = 'SUSPENDED' WHERE user_id = ${hidden.id}`);
    expect(await reasonOf(report({ from, until: after(DAY), doctorId: uuid() }))).toBe('DOCTOR_NOT_FOUND');
    expect((await report({ from, until: after(DAY), doctorId: hidden.id })).buckets).toHaveLength(1);
  });
});
