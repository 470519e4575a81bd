import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import { query } from '../../test/support/calls.ts';
import { type BothClients, clientsOf, outcomeOf, tally } from '../../test/support/process-client.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';

const PASSWORD = 'a violet umbrella, twice';
const HOME = '198.51.100.7';

let server: TestServer;
let clients: BothClients;

beforeAll(async () => {
  server = await startServer({ trustedProxies: ['127.0.0.1'] });
  clients = clientsOf(server);
});

afterAll(() => server.stop());

const from = (address: string) => ({ headers: { 'x-forwarded-for': address } });

/** An account that was made from HOME. */
async function account(): Promise<string> {
  const email = `${randomUUID()}@example.test`;
  await clients.grpc.auth.signUp({ email, password: PASSWORD, displayName: 'Asha', role: Role.PATIENT }, from(HOME));
  return email;
}

const logIn = async (email: string, { password = PASSWORD, at = HOME } = {}) =>
  (await outcomeOf(from(at), (as) => clients.json.auth.logIn({ email, password }, as))).reason;

/** Wrong passwords from so many addresses, so many from each; ten addresses at once. */
async function attack(email: string, { places, tries }: { places: number; tries: number }): Promise<string[]> {
  const addresses = Array.from({ length: places }, (_, i) => `203.0.113.${i}`).values();
  const reasons: string[] = [];
  const guess = async () => {
    for (const at of addresses)
      for (let i = 0; i < tries; i++) reasons.push(await logIn(email, { password: 'not the right one', at }));
  };
  await Promise.all(Array.from({ length: 10 }, guess));
  return reasons;
}

const failures = async (email: string) =>
  (
    await query<{ failed_sign_ins: number }>(server, sql`SELECT failed_sign_ins FROM app_user WHERE email = ${email}`)
  )[0]?.failed_sign_ins;

test('a victim under attack gets in, from home and from a place never seen, while the attacker waits', async () => {
  const email = await account();
  expect(new Set(await attack(email, { places: 1, tries: 7 }))).toEqual(new Set(['CREDENTIALS_INVALID']));
  expect(await failures(email)).toBe(5); // two of seven waited and weren't looked at
  expect(await logIn(email, { at: '203.0.113.0' })).toBe('CREDENTIALS_INVALID'); // not even with the right one
  expect(await logIn(email)).toBe('OK');
  expect(await logIn(email, { at: '192.0.2.1' })).toBe('OK');
  expect(await logIn(email, { at: '203.0.113.0' })).toBe('CREDENTIALS_INVALID'); // the attacker's wait goes on
});

test('many places at once leave each a single guess, and the victim still gets in', async () => {
  const email = await account();
  await attack(email, { places: 50, tries: 1 });
  expect(await failures(email)).toBe(50);
  await attack(email, { places: 55, tries: 2 });
  // From now on one try a place: the five new ones had one each, the fifty old ones one more.
  expect(await failures(email)).toBe(105);
  expect(await logIn(email, { password: 'a slip of the finger' })).toBe('CREDENTIALS_INVALID');
  expect(await logIn(email)).toBe('OK'); // home keeps its five
  expect(await failures(email)).toBe(0);
});

test('an account that nobody has looks the same from outside', async () => {
  const [known, unknown] = [await account(), `${randomUUID()}@example.test`];
  const told = await Promise.all([known, unknown].map((email) => attack(email, { places: 1, tries: 7 })));
  expect(told[0]).toEqual(told[1]);
});

test('a refused log-in takes at least a quarter of a second, whether the account exists, waits or does not', async () => {
  const email = await account();
  const timed = async (address: string) => {
    const startedAt = performance.now();
    expect(await logIn(address, { password: 'not the right one', at: '192.0.2.9' })).toBe('CREDENTIALS_INVALID');
    return performance.now() - startedAt;
  };
  const times = [await timed(email), await timed(`${randomUUID()}@example.test`)];
  for (let i = 0; i < 5; i++) times.push(await timed(email));
  expect(Math.min(...times)).toBeGreaterThan(245);
});

test('a burst from one place is looked at five times, at an account that exists and at one that does not', async () => {
  const [known, unknown] = [await account(), `${randomUUID()}@example.test`];
  for (const email of [known, unknown]) {
    const tries = Array.from({ length: 30 }, () => logIn(email, { password: 'not the right one', at: '203.0.113.9' }));
    expect(new Set(await Promise.all(tries))).toEqual(new Set(['CREDENTIALS_INVALID']));
  }
  expect(await failures(known)).toBe(5);
});

test('two instances that see a new place at the same moment both let the right password in', async () => {
  const other = await startServer({ databaseUrl: server.url, trustedProxies: ['127.0.0.1'] });
  try {
    const email = await account();
    for (let round = 0; round < 8; round++) {
      const at = from(`192.0.2.${round}`);
      const both = [clients, clientsOf(other)].map(({ grpc }) =>
        outcomeOf(at, (as) => grpc.auth.logIn({ email, password: PASSWORD }, as)),
      );
      expect(tally(await Promise.all(both))).toEqual({ OK: 2 });
    }
  } finally {
    await other.stop();
  }
});

test('a crowd that tries one account holds one connection: others are served', async () => {
  const small = await startServer({ databaseUrl: server.url, pool: 2 });
  const email = await account();
  const locker = new pg.Client(server.url);
  await locker.connect();
  try {
    await locker.query('BEGIN');
    await locker.query('SELECT FROM app_user WHERE email = $1 FOR UPDATE', [email]);
    const { auth, availability } = clientsOf(small).grpc;
    const tries = Array.from({ length: 10 }, () =>
      outcomeOf({}, (as) => auth.logIn({ email, password: PASSWORD }, as)),
    );
    await waitsForLock(email);
    await sleep(700); // the other passwords are compared by now
    const search = await outcomeOf({ timeoutMs: 1_500 }, (as) => availability.searchDoctors({}, as));
    expect(search.reason).toBe('OK');
    await locker.query('COMMIT');
    expect((await Promise.all(tries)).filter(({ reason }) => reason === 'OK').length).toBeGreaterThan(0);
  } finally {
    await locker.end();
    await small.stop();
  }
});

/** Resolves when a log-in has come as far as the account's row. */
async function waitsForLock(email: string): Promise<void> {
  for (const deadline = Date.now() + 10_000; ; await sleep(20)) {
    const [seen] = await query<{ n: number }>(
      server,
      sql`SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    if (seen?.n) return;
    if (Date.now() > deadline) throw new Error(`no log-in of ${email} waits`);
  }
}
