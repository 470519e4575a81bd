import { randomUUIDv7 as uuid } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { SlotState } from '../gen/amrutam/availability/v1/availability_pb.ts';
import { sql } from '../src/db/sql.ts';
import { rows } from '../src/db/statement.ts';
import { inTransaction } from '../src/db/transaction.ts';
import { closeRedis, openRedis, type Redis } from '../src/redis.ts';
import { redisShelf } from '../src/redis-shelf.ts';
import { query } from './support/calls.ts';
import { openSlots, type Person, person } from './support/people.ts';
import { type Clients, clientsOf } from './support/process-client.ts';
import { hasRedis, startRedis, type TestRedis } from './support/redis.ts';
import { startServer, type TestServer } from './support/server.ts';

/** Within which a listing is right, wherever it was changed. */
const SECOND = 1_000;
const MINUTE_MS = 60_000;

let servers: TestServer[];
let [here, there] = [] as unknown as [Clients, Clients];
let patient: Person;
let admin: Person;

beforeAll(async () => {
  const first = await startServer();
  servers = [first, await startServer({ databaseUrl: first.url, keysFile: first.keysFile })];
  [here, there] = servers.map((server) => clientsOf(server).grpc) as [Clients, Clients];
  [patient, admin] = [await person(first, 'PATIENT'), await person(first, 'ADMINISTRATOR')];
});
afterAll(async () => {
  for (const server of servers.reverse()) await server.stop();
});

let hours = 24;
/** A doctor with three open slots, at a time of day that no other has. */
async function doctorWithSlots(): Promise<{ doctor: Person; slots: string[] }> {
  const [server] = servers as [TestServer];
  hours += 4;
  const doctor = await person(server, 'DOCTOR', `Dr. Number ${hours}`);
  const slots = await openSlots(server, doctor.id, { count: 3, inMinutes: hours * 60 });
  return { doctor, slots: slots.map(({ id }) => id) };
}

const slotsAt = async ({ availability }: Clients, doctor: Person) =>
  (await availability.listSlots({ doctorId: doctor.id })).slots.map(({ id }) => id);

/** Asks until `look` finds it right; the milliseconds since `changedAt`. */
async function rightAfter(changedAt: number, look: () => Promise<boolean>): Promise<number> {
  while (!(await look())) {
    if (performance.now() - changedAt > 5 * SECOND) throw new Error('it was never right');
    await sleep(10);
  }
  return performance.now() - changedAt;
}

/** Statements that read listings while `work` runs. */
async function statementsOf(work: () => Promise<unknown>): Promise<number> {
  let count = 0;
  const original = pg.Client.prototype.query as (this: unknown, ...args: unknown[]) => unknown;
  pg.Client.prototype.query = function (this: unknown, ...args: unknown[]) {
    const [asked] = args as [string | { text?: string }];
    const text = typeof asked === 'string' ? asked : (asked.text ?? '');
    if (/FROM (doctor|slot)\b/.test(text)) count += 1;
    return original.apply(this, args);
  } as never;
  try {
    await work();
  } finally {
    pg.Client.prototype.query = original as never;
  }
  return count;
}

describe('what is asked again', () => {
  test('is not asked of the database; a hundred who ask at once cost one statement', async () => {
    const { doctor } = await doctorWithSlots();
    await sleep(500); // the database has told of its making, too
    const crowd = () => Promise.all(Array.from({ length: 100 }, () => slotsAt(here, doctor)));
    expect(await statementsOf(crowd)).toBe(1);
    expect(await statementsOf(crowd)).toBe(0);
    const search = () => here.availability.searchDoctors({ query: `Number ${hours}` });
    expect(await statementsOf(search)).toBe(1);
    expect(await statementsOf(search)).toBe(0);
    expect((await search()).doctors.map(({ id }) => id)).toEqual([doctor.id]);
  });

  test('is the same over every protocol', async () => {
    const { doctor } = await doctorWithSlots();
    const [grpc, json] = [here, clientsOf(servers[0] as TestServer).json];
    const ask = ({ availability }: Clients) => availability.listSlots({ doctorId: doctor.id, pageSize: 2 });
    const first = await ask(grpc);
    expect([await ask(grpc), await ask(json), await ask(json)]).toEqual([first, first, first]);
    expect(first.slots).toHaveLength(2);
    const rest = await json.availability.listSlots({ doctorId: doctor.id, pageToken: first.nextPageToken });
    expect(rest.slots).toHaveLength(1);
  });

  test('is not what doctors and administrators see of it', async () => {
    const { doctor, slots } = await doctorWithSlots();
    const [booked] = slots as [string];
    await here.booking.bookSlot({ requestId: uuid(), slotId: booked }, patient);
    expect(await slotsAt(here, doctor)).toEqual(slots.slice(1));
    for (const caller of [doctor, admin]) {
      const { slots: all } = await here.availability.listSlots({ doctorId: doctor.id }, caller);
      expect(all.map(({ state }) => state)).toEqual([SlotState.BOOKED, SlotState.OPEN, SlotState.OPEN]);
    }
    expect(await slotsAt(here, doctor)).toEqual(slots.slice(1));
  });

  test('ends when its first slot begins, and is back when the clock is put back', async () => {
    const { doctor, slots } = await doctorWithSlots();
    const [server] = servers as [TestServer];
    expect(await slotsAt(here, doctor)).toEqual(slots);
    server.shift((hours * 60 + 2) * MINUTE_MS);
    expect(await slotsAt(here, doctor)).toEqual(slots.slice(1));
    server.shift(0);
    expect(await slotsAt(here, doctor)).toEqual(slots);
  });
});

describe('a change', () => {
  test('is seen at once where it was made', async () => {
    const { doctor, slots } = await doctorWithSlots();
    const [slotId] = slots as [string];
    for (let i = 0; i < 20; i++) {
      expect(await slotsAt(here, doctor)).toEqual(slots);
      const { booking } = await here.booking.bookSlot({ requestId: uuid(), slotId }, patient);
      expect(await slotsAt(here, doctor)).toEqual(slots.slice(1));
      await here.booking.cancelBooking({ requestId: uuid(), bookingId: booking?.id, reason: 'again' }, patient);
    }
  });

  type Case = Awaited<ReturnType<typeof doctorWithSlots>>;
  const first = ({ slots }: Case) => slots[0] as string;
  const found = async ({ availability }: Clients, { doctor }: Case, more = {}) =>
    (await availability.searchDoctors({ query: 'Number', pageSize: 250, ...more })).doctors.find(
      ({ id }) => id === doctor.id,
    );
  const day = {
    openFrom: timestampFromDate(new Date()),
    openUntil: timestampFromDate(new Date(Date.now() + 40 * 24 * 60 * MINUTE_MS)),
  };

  test.each<[string, (one: Case) => Promise<unknown>, (one: Case) => Promise<boolean>]>([
    [
      'a slot booked',
      (one) => here.booking.bookSlot({ requestId: uuid(), slotId: first(one) }, patient),
      async (one) => !(await slotsAt(there, one.doctor)).includes(first(one)),
    ],
    [
      'a slot withdrawn, and with it the next open time',
      (one) => here.availability.withdrawSlot({ requestId: uuid(), slotId: first(one) }, one.doctor),
      async (one) => {
        const { slots } = await there.availability.listSlots({ doctorId: one.doctor.id });
        const { doctor } = await there.availability.getDoctor({ doctorId: one.doctor.id });
        const searched = await found(there, one);
        const next = slots[0]?.startTime?.seconds;
        return slots.length === 2 && [doctor, searched].every((shown) => shown?.nextOpenTime?.seconds === next);
      },
    ],
    [
      'a slot published',
      (one) => {
        const start = Date.now() - (Date.now() % MINUTE_MS) + 300 * 24 * 60 * MINUTE_MS;
        const slots = [
          {
            startTime: timestampFromDate(new Date(start)),
            endTime: timestampFromDate(new Date(start + 30 * MINUTE_MS)),
          },
        ];
        return here.availability.publishSlots({ requestId: uuid(), slots }, one.doctor);
      },
      async (one) => (await slotsAt(there, one.doctor)).length === 4,
    ],
    [
      'the last open slot of a range booked',
      async (one) => {
        for (const slotId of one.slots) await here.booking.bookSlot({ requestId: uuid(), slotId }, patient);
      },
      async (one) => (await found(there, one, day)) === undefined,
    ],
    [
      'a doctor renamed',
      (one) => here.auth.updateCurrentUser({ displayName: 'Dr. Renamed Number' }, one.doctor),
      async (one) => (await found(there, one))?.displayName === 'Dr. Renamed Number',
    ],
    [
      'a doctor suspended',
      (one) => here.admin.suspendDoctor({ doctorId: one.doctor.id }, admin),
      async (one) => {
        const gone = await slotsAt(there, one.doctor).then(
          () => false,
          () => true,
        );
        return gone && (await found(there, one)) === undefined;
      },
    ],
  ])('%s is seen at the other instance within a second', async (_what, change, look) => {
    const one = await doctorWithSlots();
    await Promise.all([
      slotsAt(there, one.doctor),
      found(there, one),
      found(there, one, day),
      there.availability.getDoctor({ doctorId: one.doctor.id }),
    ]);
    await sleep(300);
    await change(one);
    expect(await rightAfter(performance.now(), () => look(one))).toBeLessThan(SECOND);
  });

  test('of which nobody is told, while the database can’t be asked for changes, is seen within a second too', async () => {
    const { doctor, slots } = await doctorWithSlots();
    const [server] = servers as [TestServer];
    await slotsAt(there, doctor);
    await inTransaction(server.orm, AbortSignal.timeout(20_000), async (em) => {
      await rows(em, sql`LOCK TABLE listing_change`);
      await sleep(500);
      expect(await slotsAt(there, doctor)).toEqual(slots);
      await query(server, sql`UPDATE slot SET state = 'WITHDRAWN' WHERE id = ${slots[0]}`);
      const changedAt = performance.now();
      expect(await rightAfter(changedAt, async () => (await slotsAt(there, doctor)).length === 2)).toBeLessThan(SECOND);
    });
  });

  test('never leaves a listing at either instance older than a second, however many there are', async () => {
    const { doctor, slots } = await doctorWithSlots();
    /** When each slot was open for sure, and when perhaps: a booking is somewhere between its call and its answer. */
    const history = slots.map(() => [{ open: true, from: 0, until: Number.POSITIVE_INFINITY }]);
    const turn = (slot: number, open: boolean, from: number) => {
      const last = history[slot]?.at(-1);
      if (last) last.until = performance.now();
      history[slot]?.push({ open, from, until: Number.POSITIVE_INFINITY });
    };
    const until = performance.now() + 4 * SECOND;
    const writing = slots.map(async (slotId, i) => {
      const who = await person(servers[0] as TestServer, 'PATIENT');
      for (let round = 0; performance.now() < until; round++) {
        const { booking } = round % 2 ? here : there;
        let from = performance.now();
        const made = await booking.bookSlot({ requestId: uuid(), slotId }, who);
        turn(i, false, from);
        await sleep(Math.random() * 120);
        from = performance.now();
        await booking.cancelBooking({ requestId: uuid(), bookingId: made.booking?.id, reason: 'next' }, who);
        turn(i, true, from);
        await sleep(Math.random() * 120);
      }
    });
    const wrong: string[] = [];
    const reading = [here, there].map(async (clients) => {
      while (performance.now() < until) {
        const askedAt = performance.now();
        const open = await slotsAt(clients, doctor);
        slots.forEach((id, i) => {
          const was = history[i]?.some((span) => span.open === open.includes(id) && span.until > askedAt - SECOND);
          if (!was) wrong.push(`slot ${i} at ${askedAt}`);
        });
        await sleep(2);
      }
    });
    await Promise.all([...writing, ...reading]);
    expect(wrong).toEqual([]);
  });
});

(hasRedis ? describe : describe.skip)('shared through Redis', () => {
  let redis: TestRedis;
  const connections: Redis[] = [];
  const more: TestServer[] = [];
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterEach(async () => {
    for (const server of more.splice(0)) await server.stop();
    for (const connection of connections.splice(0)) closeRedis(connection);
  });
  afterAll(async () => {
    await redis.kill();
  });

  /** Two more instances on the same database, with Redis. */
  async function sharing(): Promise<Clients[]> {
    const [{ url, keysFile }] = servers as [TestServer];
    for (let i = 0; i < 2; i++) {
      const ready = Promise.withResolvers<void>();
      const connection = openRedis(redis.url, { warn: () => {}, found: ready.resolve });
      connections.push(connection);
      await ready.promise;
      more.push(await startServer({ databaseUrl: url, keysFile, shelf: redisShelf(connection) }));
    }
    await sleep(300); // each has asked for changes
    return more.map((server) => clientsOf(server).grpc);
  }

  test('what one has read the other need not read, until it changes', async () => {
    const [one, other] = (await sharing()) as [Clients, Clients];
    // Transactions of other databases that go on meanwhile can make it doubtful what an entry shows: then it is read again.
    let { doctor, slots } = await doctorWithSlots();
    let read = 1;
    for (let tries = 0; read > 0 && tries < 10; tries++) {
      ({ doctor, slots } = await doctorWithSlots());
      await sleep(500);
      expect(await slotsAt(one, doctor)).toEqual(slots);
      await sleep(100);
      read = await statementsOf(async () => expect(await slotsAt(other, doctor)).toEqual(slots));
    }
    expect(read).toBe(0);
    await other.booking.bookSlot({ requestId: uuid(), slotId: slots[0] }, patient);
    expect(await slotsAt(other, doctor)).toEqual(slots.slice(1));
    const changedAt = performance.now();
    expect(await rightAfter(changedAt, async () => (await slotsAt(one, doctor)).length === 2)).toBeLessThan(SECOND);
  });

  test('what it lies about is not believed: rubbish, another listing, yesterday’s', async () => {
    const [one, other] = (await sharing()) as [Clients, Clients];
    const [asha, bela] = [await doctorWithSlots(), await doctorWithSlots()];
    await sleep(500);
    const connection = connections[0] as Redis;
    await connection.flushAll();
    await slotsAt(one, asha.doctor);
    await sleep(100);
    const [ashas = ''] = await connection.keys('amrutam:listing:*');
    const ashasText = (await connection.get(ashas)) ?? '';
    await slotsAt(one, bela.doctor);
    await sleep(100);
    const belas = (await connection.keys('amrutam:listing:*')).find((key) => key !== ashas) ?? '';
    await connection.set(belas, ashasText);
    expect(await slotsAt(other, bela.doctor)).toEqual(bela.slots);
    for (const rubbish of ['', 'x', '{}', `${ashasText}x`, ashasText.slice(0, 100), '\u0000'.repeat(100)]) {
      await connection.set(ashas, rubbish);
      const [{ url, keysFile }] = servers as [TestServer];
      const fresh = await startServer({ databaseUrl: url, keysFile, shelf: redisShelf(connection) });
      more.push(fresh);
      expect(await slotsAt(clientsOf(fresh).grpc, asha.doctor)).toEqual(asha.slots);
    }
    await one.booking.bookSlot({ requestId: uuid(), slotId: asha.slots[0] }, patient);
    await sleep(SECOND);
    await connection.set(ashas, ashasText); // true when it was written
    expect(await slotsAt(other, asha.doctor)).toEqual(asha.slots.slice(1));
  });

  test('frozen or gone it keeps nobody waiting', async () => {
    const [one, other] = (await sharing()) as [Clients, Clients];
    const { doctor, slots } = await doctorWithSlots();
    redis.freeze();
    const askedAt = performance.now();
    expect(await slotsAt(one, doctor)).toEqual(slots);
    expect(performance.now() - askedAt).toBeLessThan(SECOND);
    redis.thaw();
    await redis.kill();
    expect(await slotsAt(other, doctor)).toEqual(slots);
    await other.booking.bookSlot({ requestId: uuid(), slotId: slots[0] }, patient);
    expect(await slotsAt(other, doctor)).toEqual(slots.slice(1));
    await redis.start();
  });
});
