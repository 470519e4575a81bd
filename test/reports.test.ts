import { randomUUIDv7 as uuid } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Bucket } from '../gen/amrutam/admin/v1/admin_pb.ts';
import { FRESH_MS } from '../src/admin/report-cache.ts';
import { closeRedis, openRedis, type Redis } from '../src/redis.ts';
import { redisShelf } from '../src/redis-shelf.ts';
import { openSlots, type Person, person } from './support/people.ts';
import { type Clients, clientsOf, outcomeOf } from './support/process-client.ts';
import { hasRedis, startRedis, type TestRedis } from './support/redis.ts';
import { startServer, type TestServer } from './support/server.ts';

let first: TestServer;
let here: Clients;
let admin: Person;
let doctor: Person;

beforeAll(async () => {
  first = await startServer();
  here = clientsOf(first).grpc;
  admin = await person(first, 'ADMINISTRATOR');
  doctor = await person(first, 'DOCTOR');
});
afterAll(() => first.stop());

let asked = 0;
/** A question that nobody has asked before: the bookings made from an hour ago on. */
function question() {
  const from = Date.now() - 3_600_000;
  asked += 1;
  return {
    from: timestampFromDate(new Date(from)),
    until: timestampFromDate(new Date(from + 7_200_000 + asked)),
    bucket: Bucket.HOUR,
  };
}
type Question = ReturnType<typeof question>;

const made = async ({ admin: service }: Clients, ask: Question, as = admin) =>
  Number((await service.getAnalytics(ask, as)).totals?.bookingsMade);

let hours = 24;
async function book(): Promise<void> {
  hours += 1;
  const [slot] = await openSlots(first, doctor.id, { inMinutes: hours * 60 });
  await here.booking.bookSlot({ requestId: uuid(), slotId: slot?.id ?? '' }, await person(first, 'PATIENT'));
}

test('who asks again gets the same figures, over every protocol; another question gets those of now', async () => {
  const ask = question();
  const before = await made(here, ask);
  await book();
  for (const clients of [here, clientsOf(first).json]) expect(await made(clients, ask)).toBe(before);
  expect(await made(here, question())).toBe(before + 1);
});

test('what is kept is for administrators only', async () => {
  const ask = question();
  await made(here, ask);
  for (const caller of [doctor, await person(first, 'PATIENT')])
    expect((await outcomeOf(caller, (as) => here.admin.getAnalytics(ask, as))).reason).toBe('ROLE_REQUIRED');
});

(hasRedis ? describe : describe.skip)('shared through Redis', () => {
  let redis: TestRedis;
  let connections: Redis[] = [];
  let servers: TestServer[] = [];
  let [one, other] = [] as unknown as [Clients, Clients];
  beforeAll(async () => {
    redis = await startRedis();
  });
  beforeEach(async () => {
    for (let i = 0; i < 2; i++) {
      const ready = Promise.withResolvers<void>();
      connections.push(openRedis(redis.url, { warn: () => {}, found: ready.resolve }));
      await ready.promise;
      const shelf = redisShelf(connections[i] as Redis);
      servers.push(await startServer({ databaseUrl: first.url, keysFile: first.keysFile, shelf }));
    }
    [one, other] = servers.map((server) => clientsOf(server).grpc) as [Clients, Clients];
    await sleep(500); // each has asked what the database shows
  });
  afterEach(async () => {
    for (const server of servers) await server.stop();
    for (const connection of connections) closeRedis(connection);
    [connections, servers] = [[], []];
  });
  afterAll(() => redis.kill());

  /** What one instance leaves there for `ask`: its place and the text. */
  async function left(ask: Question): Promise<[place: string, text: string]> {
    const [connection] = connections as [Redis];
    await connection.flushAll();
    await made(one, ask);
    await sleep(100);
    const [place = ''] = await connection.keys('amrutam:report:*');
    return [place, (await connection.get(place)) ?? ''];
  }

  test('what one has read the other need not read, until both have the figures of then', async () => {
    const ask = question();
    const before = await made(one, ask);
    await sleep(100);
    await book();
    for (const clients of [one, other]) expect(await made(clients, ask)).toBe(before);
    await sleep(FRESH_MS);
    for (const clients of [one, other]) expect(await made(clients, ask)).toBe(before + 1);
  });

  test('what it lies about is not believed: rubbish, and another report', async () => {
    const [connection] = connections as [Redis];
    const [, foreign] = await left(question());
    const lies = ['', 'x', '{}', foreign, '\u0000'.repeat(100)].map((lie) => () => lie);
    for (const lie of [...lies, (text: string) => `${text}x`, (text: string) => text.slice(0, 100)]) {
      const ask = question();
      const [place, text] = await left(ask);
      const before = await made(one, ask);
      await book();
      await connection.set(place, lie(text));
      expect(await made(other, ask)).toBe(before + 1);
    }
  });

  test('frozen or gone it keeps nobody waiting long', async () => {
    const ask = question();
    const before = await made(one, ask);
    redis.freeze();
    await book();
    const askedAt = performance.now();
    expect(await made(other, ask)).toBe(before + 1);
    expect(performance.now() - askedAt).toBeLessThan(1_000);
    redis.thaw();
    await redis.kill();
    expect(await made(other, question())).toBe(before + 1);
    await redis.start();
  });
});
