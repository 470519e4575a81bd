import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { EntityManager } from '@mikro-orm/postgresql';
import pg from 'pg';
import { query } from '../../test/support/calls.ts';
import { openSlots, type Person, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { RefreshToken } from '../auth/refresh-token.entity.ts';
import { User } from '../auth/user.entity.ts';
import { Slot } from '../availability/slot.entity.ts';
import { Booking } from '../booking/booking.entity.ts';
import { sql } from './sql.ts';
import { row } from './statement.ts';
import { inTransaction } from './transaction.ts';
import { writeChanges } from './write-changes.ts';

const NOW = new Date();
const signal = AbortSignal.timeout(60_000);

let server: TestServer;
let doctor: Person;
let patient: Person;
let slot: Slot;

beforeAll(async () => {
  server = await startServer();
  [doctor, patient] = await Promise.all([person(server, 'DOCTOR'), person(server, 'PATIENT')]);
});

afterAll(() => server.stop());

let ahead = 60;
beforeEach(async () => {
  ahead += 2_000;
  [slot] = (await openSlots(server, doctor.id, { inMinutes: ahead })) as [Slot];
});

interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** Shows which connection is the transaction's. */
const OURS = "SELECT 'ours'";

/** Runs `work` in a transaction of its own and answers what it sent to PostgreSQL, as the driver was given it: not what the server asks besides. */
async function sentBy(work: (em: EntityManager) => Promise<unknown>): Promise<Statement[]> {
  const sent: Statement[] = [];
  let connection: unknown;
  const original = pg.Client.prototype.query as (this: unknown, ...args: unknown[]) => unknown;
  await inTransaction(server.orm, signal, async (em) => {
    pg.Client.prototype.query = function (this: unknown, ...args: unknown[]) {
      const [asked, values] = args as [string | Statement, unknown[] | undefined];
      const statement = typeof asked === 'string' ? { text: asked, values: values ?? [] } : asked;
      if (statement.text === OURS) connection = this;
      else if (connection === this) sent.push(statement);
      return original.apply(this, args);
    } as never;
    try {
      await row(em, sql`SELECT 'ours'`);
      await work(em);
    } finally {
      pg.Client.prototype.query = original as never;
    }
  });
  return sent;
}

const nothingElse = () => [];
const newSlot = (minutes: number) => {
  const start = slot.startAt.getTime() + minutes * 60_000;
  return Slot.open(doctor.id, { startAt: new Date(start), endAt: new Date(start + 600_000) }, { field: '', now: NOW });
};
const load = async (em: EntityManager, id: string) =>
  em.map(Slot, (await row<object>(em, sql`SELECT * FROM slot WHERE id = ${id}`)) as object);
const booking = (of: Slot) =>
  Booking.confirm(of, { patientId: patient.id, reasonForVisit: 'a private cough', now: NOW });
const stateOf = async (id: string) =>
  (await query<{ state: string }>(server, sql`SELECT state FROM slot WHERE id = ${id}`))[0]?.state;

describe('everything that a unit of work changes', () => {
  test('goes out as one statement, with every value bound', async () => {
    const sent = await sentBy(async (em) => {
      const user = em.map(
        User,
        (await row<object>(em, sql`SELECT * FROM app_user WHERE id = ${patient.id}`)) as object,
      );
      const loaded = await load(em, slot.id);
      loaded.book(NOW);
      user.rename("Robert'); DROP TABLE slot; --", NOW);
      em.persist([booking(loaded), newSlot(100), newSlot(200)]);
      await writeChanges(em, undefined, () => [sql`SELECT ${'kept apart'}::text`]);
    });
    const written = sent.slice(2);
    expect(written).toHaveLength(1);
    const [{ text, values }] = written as [Statement];
    for (const secret of ['private cough', 'Robert', 'kept apart', slot.id, patient.id, 'CONFIRMED'])
      expect(text).not.toContain(secret);
    expect(text).not.toMatch(/'[^']/);
    expect(values).toEqual(expect.arrayContaining(['a private cough', "Robert'); DROP TABLE slot; --", 'kept apart']));
    expect(await stateOf(slot.id)).toBe('BOOKED');
    const [named] = await query<{ name: string }>(
      server,
      sql`SELECT display_name AS name FROM app_user WHERE id = ${patient.id}`,
    );
    expect(named?.name).toBe("Robert'); DROP TABLE slot; --");
  });

  test('nothing changed: nothing is sent', async () => {
    const sent = await sentBy(async (em) => {
      const loaded = await load(em, slot.id);
      loaded.state = 'OPEN';
      expect(await writeChanges(em, undefined, nothingElse)).toBe(true);
    });
    expect(sent).toHaveLength(1);
  });

  test('only what differs is written, and named by column; the time of change goes along unnamed', async () => {
    let names: readonly string[] = [];
    const sent = await sentBy(async (em) => {
      (await load(em, slot.id)).withdraw(NOW);
      em.persist([newSlot(300), newSlot(400)]);
      await writeChanges(em, undefined, (_won, changed) => {
        names = changed.columns;
        return [];
      });
    });
    expect([...names].sort()).toEqual(['slot.*', 'slot.state']);
    const update = /UPDATE "slot" SET (.*?) WHERE/.exec(sent.at(-1)?.text ?? '')?.[1];
    expect(update).toMatch(/^"(state|updated_at)" = \$\d+, "(state|updated_at)" = \$\d+$/);
  });

  test('it is written once: the identity map is empty afterwards', async () => {
    const sent = await sentBy(async (em) => {
      em.persist(newSlot(500));
      await writeChanges(em, undefined, nothingElse);
      await writeChanges(em, undefined, nothingElse);
      await em.flush();
    });
    expect(sent).toHaveLength(1);
  });

  test('bytes, absent values and lists come back as they went', async () => {
    const { entity } = RefreshToken.issue(patient.sessionId, NOW);
    await sentBy(async (em) => {
      em.persist(entity);
      await writeChanges(em, undefined, nothingElse);
    });
    const [kept] = await query<{ token_hash: Buffer; issued_at: Date; replaced_at: null }>(
      server,
      sql`SELECT * FROM refresh_token WHERE id = ${entity.id}`,
    );
    expect(kept).toMatchObject({ token_hash: entity.tokenHash, issued_at: NOW, replaced_at: null });
  });
});

describe('a contested insert', () => {
  test('that wins takes everything else with it', async () => {
    let won = false;
    const extra = newSlot(600);
    await sentBy(async (em) => {
      const loaded = await load(em, slot.id);
      const claim = booking(loaded);
      loaded.book(NOW);
      em.persist([claim, extra]);
      won = await writeChanges(em, claim, nothingElse);
    });
    expect(won).toBe(true);
    expect(await stateOf(slot.id)).toBe('BOOKED');
    expect(await stateOf(extra.id)).toBe('OPEN');
  });

  test.each(['the slot has a booking', 'the patient is elsewhere'])(
    'that loses writes nothing at all, and raises no error: %s',
    async (why) => {
      const [other] = (await openSlots(server, (await person(server, 'DOCTOR')).id, { inMinutes: ahead })) as [Slot];
      const sold = why === 'the slot has a booking' ? slot : other;
      await sentBy(async (em) => {
        em.persist(booking(sold));
        await writeChanges(em, undefined, nothingElse);
      });
      let won = true;
      const extra = newSlot(700);
      await sentBy(async (em) => {
        const loaded = await load(em, slot.id);
        const claim = booking(loaded);
        loaded.book(NOW);
        em.persist([claim, extra]);
        won = await writeChanges(em, claim, (condition) => [
          sql`UPDATE app_user SET display_name = 'changed' WHERE id = ${patient.id} AND ${condition}`,
        ]);
      });
      expect(won).toBe(false);
      expect(await stateOf(slot.id)).toBe('OPEN');
      expect(await stateOf(extra.id)).toBeUndefined();
      const [named] = await query<{ name: string }>(
        server,
        sql`SELECT display_name AS name FROM app_user WHERE id = ${patient.id}`,
      );
      expect(named?.name).not.toBe('changed');
    },
  );

  test('of thirty at once for one slot exactly one wins', async () => {
    const patients = await Promise.all(Array.from({ length: 30 }, () => person(server, 'PATIENT')));
    const results = await Promise.all(
      patients.map(({ id }) =>
        inTransaction(server.orm, signal, (em) => {
          const claim = Booking.confirm(slot, { patientId: id, reasonForVisit: '', now: NOW });
          em.persist(claim);
          return writeChanges(em, claim, nothingElse);
        }),
      ),
    );
    expect(results.filter(Boolean)).toHaveLength(1);
  });
});
