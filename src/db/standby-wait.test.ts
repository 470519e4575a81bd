import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import { type Postgres, startPostgres } from '../../faults/postgres.ts';
import { clientsOf, refusal } from '../../test/support/calls.ts';
import { eventually } from '../../test/support/eventually.ts';
import { openSlots, person } from '../../test/support/people.ts';
import { startServer } from '../../test/support/server.ts';
import { migrate } from './migrate.ts';
import { createOrm } from './orm.ts';
import { sql } from './sql.ts';
import { forkFor, rows } from './statement.ts';
import { inTransaction, translated } from './transaction.ts';

const signal = AbortSignal.timeout(120_000);

let folder: string;
let postgres: Postgres;
let orm: MikroORM;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'amrutam-standby-'));
  postgres = await startPostgres(folder, ['fsync=off']);
  await postgres.query('CREATE TABLE change (name text)');
  // Words in another language must not matter, and a role that wants to hear of nothing neither.
  await postgres.query('ALTER ROLE ALL SET client_min_messages = error');
  orm = createOrm({ url: postgres.url(), pool: 1, poolWaitMs: 30_000, applicationName: 'waiter' }, []);
}, 60_000);

afterEach(() => standby(''));

afterAll(async () => {
  await orm?.close(true);
  await postgres?.end();
  await rm(folder, { recursive: true, force: true });
});

/** Has COMMIT wait for a standby of that name; for none without. */
async function standby(name: string): Promise<void> {
  await postgres.query(`ALTER SYSTEM SET synchronous_standby_names = '${name}'`);
  await postgres.query('SELECT pg_reload_conf()');
  await eventually(
    async () => (await postgres.query('SHOW synchronous_standby_names'))[0]?.synchronous_standby_names === name,
  );
}

/** Does `what` to whoever waits for the standby, once somebody does. */
async function toTheWaiting(what: 'pg_cancel_backend' | 'pg_terminate_backend'): Promise<void> {
  const asked = `SELECT ${what}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name IN ('waiter', 'test')`;
  await eventually(async () => (await postgres.query(asked)).length === 1);
}

const change = (name: string) =>
  translated(signal, () => inTransaction(orm, signal, (em) => rows(em, sql`INSERT INTO change VALUES (${name})`)));
const alone = (name: string) =>
  translated(signal, () => rows(forkFor(orm, signal), sql`INSERT INTO change VALUES (${name})`));
const kept = async (name: string) => (await postgres.query(`SELECT 1 FROM change WHERE name = '${name}'`)).length;

test.each([
  ['a transaction', 'pg_cancel_backend', change],
  ['a transaction', 'pg_terminate_backend', change],
  ['a statement for itself', 'pg_cancel_backend', alone],
] as const)(
  '%s whose wait for a standby %s has ended is not told to be done; what comes next is',
  async (_, what, make) => {
    const name = `${what} of ${make.name}`;
    await change(`before ${name}`);
    await standby('absent');
    const made = make(name);
    const [outcome] = await Promise.all([made.catch((error: unknown) => error), toTheWaiting(what)]);
    expect(outcome).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    expect(await kept(name)).toBe(1); // here, and nowhere else
    await standby('');
    await change(`after ${name}`);
    expect(await kept(`after ${name}`)).toBe(1);
  },
);

test('a patient who asks again hears of the booking only once a standby has it', async () => {
  await postgres.query('CREATE DATABASE clinic');
  await migrate(postgres.url('clinic'));
  const server = await startServer({ databaseUrl: postgres.url('clinic') });
  try {
    const [doctor, patient] = [await person(server, 'DOCTOR'), await person(server, 'PATIENT')];
    const [slot] = await openSlots(server, doctor.id);
    const request = { requestId: randomUUID(), slotId: slot?.id ?? '' };
    const ask = () => clientsOf(server).booking.bookSlot(request, patient);
    await standby('absent');
    for (let asked = 0; asked < 3; asked++) {
      const [told] = await Promise.all([refusal(ask()), toTheWaiting('pg_cancel_backend')]);
      expect(told).toMatchObject({ reason: 'OUTCOME_UNKNOWN', code: 'Unavailable' });
    }
    await standby('');
    expect((await ask()).booking?.slotId).toBe(slot?.id);
    const [count] = await postgres.query('SELECT count(*)::int AS bookings FROM booking', 'clinic');
    expect(count).toEqual({ bookings: 1 });
  } finally {
    await server.stop();
  }
});
