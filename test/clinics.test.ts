import { randomUUIDv7 as uuid } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { migrate } from '../src/db/migrate.ts';
import { closeRedis, openRedis, type Redis } from '../src/redis.ts';
import { redisShelf } from '../src/redis-shelf.ts';
import { freshDatabase, type TestDatabase } from './support/database.ts';
import { openSlots, person } from './support/people.ts';
import { type Clients, clientsOf, outcomeOf } from './support/process-client.ts';
import { hasRedis, startRedis, type TestRedis } from './support/redis.ts';
import { startServer, type TestServer } from './support/server.ts';

// Clinics in one database, a schema and a role each, that share a Redis and keys.

const DAY_MS = 24 * 3_600_000;
const clinics = ['a', 'b'].map((name) => ({ schema: `clinic_${name}`, role: `${name}_${uuid().slice(-8)}` }));

let database: TestDatabase;
let admin: pg.Client;
let redis: TestRedis | undefined;
const connections: Redis[] = [];
const servers: TestServer[] = [];
let [here, there] = [] as unknown as [Clients, Clients];

beforeAll(async () => {
  database = await freshDatabase('template0');
  admin = new pg.Client(database.url);
  await admin.connect();
  await admin.query('CREATE EXTENSION btree_gist; CREATE EXTENSION pg_trgm');
  if (hasRedis) redis = await startRedis();
  for (const { schema, role } of clinics) {
    await admin.query(`CREATE ROLE ${role} LOGIN PASSWORD '${role}'; CREATE SCHEMA ${schema} AUTHORIZATION ${role}`);
    await admin.query(`ALTER ROLE ${role} SET search_path = ${schema}, public`);
    await admin.query(`GRANT CREATE ON DATABASE ${new URL(database.url).pathname.slice(1)} TO ${role}`);
    const databaseUrl = Object.assign(new URL(database.url), { username: role, password: role }).toString();
    await migrate(databaseUrl);
    const shelf = redis && redisShelf(await connected(redis));
    const keysFile = servers[0]?.keysFile;
    servers.push(await startServer({ databaseUrl, ...(keysFile && { keysFile }), ...(shelf && { shelf }) }));
  }
  [here, there] = servers.map((server) => clientsOf(server).grpc) as [Clients, Clients];
  await sleep(500); // each has asked what the database shows
});

afterAll(async () => {
  for (const server of servers.reverse()) await server.stop();
  for (const connection of connections) closeRedis(connection);
  await redis?.kill();
  await admin.end();
  await database.drop();
  const server = new pg.Client(Object.assign(new URL(database.url), { pathname: '/postgres' }).toString());
  await server.connect();
  for (const { role } of clinics) await server.query(`DROP ROLE ${role}`);
  await server.end();
});

async function connected({ url }: TestRedis): Promise<Redis> {
  const ready = Promise.withResolvers<void>();
  const connection = openRedis(url, { warn: () => {}, found: ready.resolve });
  connections.push(connection);
  await ready.promise;
  return connection;
}

test('the same question has an answer of its own in each, also where they share a Redis', async () => {
  const [first, second] = servers as [TestServer, TestServer];
  const doctor = await person(first, 'DOCTOR', 'Dr. Only Here');
  await openSlots(first, doctor.id, { count: 2 });
  const now = Date.now();
  const range = { from: timestampFromDate(new Date(now - DAY_MS)), until: timestampFromDate(new Date(now + DAY_MS)) };
  const [admin, other] = [await person(first, 'ADMINISTRATOR'), await person(second, 'ADMINISTRATOR')];
  await sleep(500); // both have heard of the changes, so that what is shared from now on counts
  const asked: readonly (readonly [(clients: Clients, as: typeof admin) => Promise<number>, number])[] = [
    [async ({ availability }) => (await availability.searchDoctors({})).doctors.length, 1],
    [async ({ availability }) => (await availability.listSlots({ doctorId: doctor.id })).slots.length, 2],
    [async (clients, as) => Number((await clients.admin.getAnalytics(range, as)).totals?.publishedMinutes), 60],
  ];
  for (const [ask, expected] of asked) {
    expect(await ask(here, admin)).toBe(expected);
    await sleep(100); // it has been left for others
    expect(await ask(there, other).catch(() => 0)).toBe(0);
  }
});

test('who has an account in one is nobody in the other, though both trust the same keys', async () => {
  const [first] = servers as [TestServer];
  const [doctor, patient] = [await person(first, 'DOCTOR'), await person(first, 'PATIENT')];
  const [slot] = await openSlots(first, doctor.id, { inMinutes: 600 });
  const request = { requestId: uuid(), slotId: slot?.id as string };
  expect((await outcomeOf(patient, (as) => there.booking.bookSlot(request, as))).reason).toBe('TOKEN_INVALID');
  expect((await outcomeOf(patient, (as) => here.booking.bookSlot(request, as))).reason).toBe('OK');
});
