import { randomUUIDv7 as uuid } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import pg from 'pg';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { createOrm } from '../db/orm.ts';
import { compileSql, sql } from '../db/sql.ts';
import { forkFor } from '../db/statement.ts';
import { inTransaction } from '../db/transaction.ts';
import { KEPT } from './check-seal.ts';
import { addSeal, type Head, rootOf, type Seal, sealColumns, sealOf } from './seal.ts';
import { sealFigures } from './seal-figures.ts';
import { createSealKeyFile, readSealKeys, rotateSealKeys, type SealKeys } from './seal-keys.ts';
import type { SealProblem } from './seal-problem.ts';
import { sealRows } from './seal-rows.ts';
import { COLUMNS, leafOf, sealedColumns } from './sealed-row.ts';
import { checkHead, verifySeals } from './verify-seals.ts';

let database: TestDatabase;
let orm: MikroORM;
/** Somebody who owns the database, and so can do everything in it. */
let owner: pg.Client;
let folder: string;
let keysFile: string;
let keys: SealKeys;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'amrutam-seals-'));
  keysFile = join(folder, 'audit-keys.json');
  await createSealKeyFile(keysFile);
  keys = await readSealKeys(keysFile);
});

beforeEach(async () => {
  database = await freshDatabase();
  orm = createOrm({ url: database.url, pool: 4, poolWaitMs: 2_000, applicationName: 'seals' }, []);
  owner = await connected();
});

afterEach(async () => {
  await owner.end();
  await orm.close();
  await database.drop();
});

afterAll(() => rm(folder, { recursive: true }));

async function connected(): Promise<pg.Client> {
  const client = new pg.Client(database.url);
  await client.connect();
  return client;
}

const INSERT = `INSERT INTO audit_event (id, recorded_at, actor_id, action, outcome, reason, entity_type, patient_id, trace_id,
  client_address, instance, changed_fields, xid)`;

/** Rows of one transaction, as the service writes them. */
async function written(count: number, client = owner): Promise<string[]> {
  const ids = Array.from({ length: count }, () => uuid());
  await client.query(
    `${INSERT} SELECT id, clock_timestamp(), id, 'Test', 'DONE', '', 'booking', NULL, '', '', 'test', '{a,b}', pg_current_xact_id()
     FROM unnest($1::uuid[]) AS id`,
    [ids],
  );
  return ids;
}

/** Makes a seal of the next rows, when there are any that no transaction holds back. */
const seal = (batch?: number, signer: SealKeys = keys) =>
  inTransaction(orm, AbortSignal.timeout(10_000), (em) => sealRows(em, signer, batch));

/** Seals until nothing is left. Other tests use the same server, and their transactions hold back, too. */
async function sealAll(batch?: number, signer?: SealKeys): Promise<Seal[]> {
  const made: Seal[] = [];
  for (;;) {
    const next = await seal(batch, signer);
    if (next) made.push(next);
    else if ((await figures()).unsealed === 0) return made;
  }
}

const figures = () => sealFigures(forkFor(orm));

/** Looks at the whole chain, and at the remembered end of it. */
async function verified(head?: Head, by = keys): Promise<{ rows: number; last: number; problem?: SealProblem }> {
  const em = forkFor(orm);
  let [rows, last] = [0, 0];
  for (let from: number | undefined = 1; from !== undefined; ) {
    const found = await verifySeals(em, by, { from });
    rows += found.rows;
    last = found.last ?? last;
    if (found.problem) return { rows, last, problem: found.problem };
    from = found.next;
  }
  const problem = head && (await checkHead(em, head));
  return problem ? { rows, last, problem } : { rows, last };
}

const headOf = async () => (await figures()).head as Head;

/** What an owner can do who wants to leave no trace. */
const tampered = (statement: string, values: unknown[] = []) =>
  untriggered((client) => client.query(statement, values));

async function untriggered<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  await owner.query('SET session_replication_role = replica');
  const result = await work(owner);
  await owner.query('SET session_replication_role = origin');
  return result;
}

/** Makes all seals anew, changed as told, each with the right root; and with the right key, unless another signs. */
async function resealed(change: (made: Seal) => Seal, signer = keys): Promise<void> {
  const { rows } = await owner.query(compileSql(sql`SELECT ${sealColumns} FROM audit_seal ORDER BY number`).text);
  await tampered('DELETE FROM audit_seal');
  let previousRoot = Buffer.alloc(32);
  for (const found of rows) {
    const made = { ...change(sealOf({ ...found, number: Number(found.number) })), previousRoot };
    previousRoot = Buffer.from(rootOf(made));
    expect(await addSeal(forkFor(orm), { ...made, root: previousRoot, signature: signer.sign(previousRoot) })).toBe(
      true,
    );
  }
}

const oldPartition = () =>
  owner.query(`CREATE TABLE audit_event_old PARTITION OF audit_event FOR VALUES FROM ('2000-01-01') TO ('2025-01-01')`);

/** Five seals of four rows each, one row a transaction; answers the ids in order. */
async function sealedLog(): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < 20; i++) ids.push(...(await written(1)));
  const made = await sealAll(4);
  expect(made.length).toBeGreaterThanOrEqual(5);
  return ids;
}

describe('sealing', () => {
  test('puts every row into exactly one seal, in a chain that can be verified', async () => {
    await sealedLog();
    expect(await verified()).toEqual({ rows: 20, last: (await headOf()).number });
    const { head, waiting } = await figures();
    expect([head?.root.length, waiting]).toEqual([64, undefined]);
  });

  test('never parts what one transaction has written', async () => {
    await written(10);
    await written(1);
    const made = await sealAll(3);
    expect(made[0]?.rowCount).toBe(10);
    expect(await verified()).toEqual({ rows: 11, last: made.at(-1)?.number });
  });

  test('waits for a transaction that stays open, and loses nothing that it writes', async () => {
    const slow = await connected();
    await slow.query('BEGIN');
    const [early] = await written(1, slow);
    for (let i = 0; i < 5; i++) await written(1);
    expect(await seal()).toBeUndefined();
    expect((await figures()).unsealed).toBe(5);
    const [late] = await written(1, slow);
    await slow.query('COMMIT');
    await slow.end();
    const made = await sealAll(2);
    expect(await verified()).toEqual({ rows: 7, last: made.at(-1)?.number });
    // What was written by the older transaction comes first, although it was written last.
    expect(made[0]?.rowCount).toBe(2);
    const { rows: first } = await owner.query(
      `SELECT id FROM audit_event WHERE xid >= $1::xid8 AND xid < $2::xid8 ORDER BY id`,
      [String(made[0]?.xidFrom), String(made[0]?.xidEnd)],
    );
    expect(first.map(({ id }) => id)).toEqual([early, late]);
  });

  test('of writers at work, with seals made all the while, misses no row', async () => {
    let writing = true;
    let [during, kept] = [0, 0];
    const writers = Array.from({ length: 6 }, async (_, i) => {
      const client = await connected();
      // On, until something was sealed meanwhile: a transaction of anybody on this server holds sealing back.
      for (let n = 0; n < 40 || during === 0; n++) {
        await client.query('BEGIN');
        await written(1, client);
        await client.query('SELECT pg_sleep($1)', [((n * (i + 1)) % 7) / 1000]);
        await written(1, client);
        await client.query(n % 9 === 8 ? 'ROLLBACK' : 'COMMIT');
        kept += n % 9 === 8 ? 0 : 2;
      }
      await client.end();
    });
    const all = Promise.all(writers).finally(() => {
      writing = false;
    });
    while (writing) during += (await seal(10)) ? 1 : 0;
    await all;
    await sealAll(10);
    const { rows } = await owner.query(`SELECT count(*)::int AS n FROM audit_event`);
    expect(await verified()).toEqual({ rows: rows[0].n, last: (await headOf()).number });
    expect(rows[0].n).toBe(kept);
  });

  test('by two at once makes one chain', async () => {
    for (let i = 0; i < 30; i++) await written(1);
    const outcomes: string[] = [];
    const both = async () => {
      while ((await figures()).unsealed > 0)
        outcomes.push(
          await seal(2).then(
            (made) => (made ? 'sealed' : 'nothing'),
            ({ message }: Error) => message,
          ),
        );
    };
    await Promise.all([both(), both(), both()]);
    expect(
      new Set(outcomes.filter((one) => !/^(sealed|nothing)$/.test(one)).map((one) => one.replace(/\d+/, 'N'))),
    ).toEqual(new Set(['seal N of the audit log was made by another meanwhile']));
    expect(await verified()).toEqual({ rows: 30, last: outcomes.filter((one) => one === 'sealed').length });
  });

  test('that ends before its commit leaves nothing, and the next one goes on', async () => {
    for (let i = 0; i < 6; i++) await written(1);
    await sealAll(3);
    await written(2);
    const killed = inTransaction(orm, AbortSignal.timeout(10_000), async (em) => {
      for (let made: Seal | undefined; !made; ) made = await sealRows(em, keys);
      throw new Error('killed');
    });
    await expect(killed).rejects.toThrow('killed');
    expect((await figures()).unsealed).toBe(2);
    await sealAll();
    expect(await verified()).toMatchObject({ rows: 8 });
  });

  test('has no seal where nothing was written', async () => {
    expect(await seal()).toBeUndefined();
    await written(1);
    await sealAll();
    expect(await seal()).toBeUndefined();
    expect((await headOf()).number).toBe(1);
  });

  test('of a log that is there already begins with its oldest row', async () => {
    await written(2500);
    await written(1);
    const made = await sealAll();
    expect(made.map(({ rowCount }) => rowCount).reduce((a, b) => a + b)).toBe(2501);
    expect(await verified()).toMatchObject({ rows: 2501 });
  });
});

test('the canonical form has every column of the table', async () => {
  const { rows } = await owner.query(
    `SELECT attname FROM pg_attribute WHERE attrelid = 'audit_event'::regclass AND attnum > 0 AND NOT attisdropped`,
  );
  expect(rows.map(({ attname }) => attname).sort()).toEqual([...COLUMNS].sort());
});

test.each(['UPDATE audit_seal SET row_count = 1', 'DELETE FROM audit_seal', 'TRUNCATE audit_seal'])(
  'seals only grow: %s',
  async (statement) => {
    await written(1);
    await sealAll();
    await expect(owner.query(statement)).rejects.toMatchObject({ code: '23001' });
  },
);

describe('an owner who', () => {
  const flawOf = async (head?: Head) => (await verified(head)).problem;
  /** The seal that a row is in. */
  const sealAt = async (id: string) =>
    (
      await owner.query(
        `SELECT number::int FROM audit_seal s JOIN audit_event e ON e.xid >= s.xid_from AND e.xid < s.xid_end WHERE e.id = $1`,
        [id],
      )
    ).rows[0]?.number as number;

  test.each([
    [`action = 'Other'`],
    [`outcome = 'REFUSED'`],
    [`actor_id = NULL`],
    [`patient_id = actor_id`],
    [`changed_fields = '{"a,b"}'`],
    [`changed_fields = '{b,a}'`],
    [`recorded_at = recorded_at + interval '1 microsecond'`],
    [`trace_id = 'x'`],
    [`instance = '', client_address = 'test'`],
    [`id = gen_random_uuid()`],
  ])('changes a row: %s', async (change) => {
    const ids = await sealedLog();
    const number = await sealAt(ids[9] as string);
    await tampered(`UPDATE audit_event SET ${change} WHERE id = $1`, [ids[9]]);
    expect(await flawOf()).toMatchObject({ flaw: 'CHANGED_ROW', seal: number, eventIds: [expect.any(String)] });
    if (!change.startsWith('id')) expect((await flawOf())?.eventIds).toEqual([ids[9]]);
  });

  test('deletes a row, or all rows of a seal', async () => {
    const ids = await sealedLog();
    const number = await sealAt(ids[9] as string);
    await tampered(`DELETE FROM audit_event WHERE id = $1`, [ids[9]]);
    expect(await flawOf()).toMatchObject({ flaw: 'MISSING_ROW', seal: number, eventIds: [] });
    await tampered(
      `DELETE FROM audit_event e USING audit_seal s WHERE number = $1 AND e.xid >= xid_from AND e.xid < xid_end`,
      [number],
    );
    expect(await flawOf()).toMatchObject({ flaw: 'MISSING_ROW', seal: number });
  });

  test('puts a row among those of a seal', async () => {
    const ids = await sealedLog();
    const number = await sealAt(ids[9] as string);
    const extra = uuid();
    await owner.query(
      `${INSERT} SELECT $1, recorded_at, NULL, 'Test', 'DONE', '', '', NULL, '', '', '', '{}', xid FROM audit_event WHERE id = $2`,
      [extra, ids[9]],
    );
    expect(await flawOf()).toMatchObject({ flaw: 'EXTRA_ROW', seal: number, eventIds: [extra] });
  });

  test('puts thousands of rows among those of a seal', async () => {
    const ids = await sealedLog();
    const number = await sealAt(ids[9] as string);
    await owner.query(
      `${INSERT} SELECT gen_random_uuid(), recorded_at, NULL, 'Test', 'DONE', '', '', NULL, '', '', '', '{}', xid
       FROM audit_event, generate_series(1, 6000) WHERE id = $1`,
      [ids[9]],
    );
    expect(await flawOf()).toMatchObject({ flaw: 'EXTRA_ROW', seal: number });
  });

  test('copies a row', async () => {
    const ids = await sealedLog();
    await tampered(`INSERT INTO audit_event SELECT * FROM audit_event WHERE id = $1`, [ids[9]]).catch(() => {});
    expect(await flawOf()).toBeUndefined(); // the primary key is in the way
    await owner.query('SET session_replication_role = origin');
    await owner.query(`ALTER TABLE audit_event DROP CONSTRAINT audit_event_pkey`);
    await owner.query(`INSERT INTO audit_event SELECT * FROM audit_event WHERE id = $1`, [ids[9]]);
    expect(await flawOf()).toMatchObject({ flaw: 'EXTRA_ROW', eventIds: [ids[9]] });
  });

  test('writes a row today that says it is of long ago', async () => {
    await sealedLog();
    await oldPartition();
    await owner.query(`${INSERT} VALUES (gen_random_uuid(), '2024-06-01', NULL, 'Test', 'DONE', '', '', NULL, '', '', '', '{}',
      pg_current_xact_id())`);
    const [made] = await sealAll();
    const found = await flawOf();
    expect(found).toMatchObject({ flaw: 'BACK_DATED_ROW', seal: made?.number });
  });

  test('writes a row of a transaction that has not begun', async () => {
    await sealedLog();
    const id = uuid();
    await owner.query(
      `${INSERT} VALUES ($1, now(), NULL, 'Test', 'DONE', '', '', NULL, '', '', '', '{}', '9000000000000000000')`,
      [id],
    );
    expect(await flawOf()).toMatchObject({ flaw: 'EXTRA_ROW', eventIds: [id] });
  });

  test.each(['xid', 'recorded_at'])('writes a row without %s', async (column) => {
    await sealedLog();
    const id = uuid();
    await owner.query(`ALTER TABLE audit_event DROP CONSTRAINT audit_event_pkey`);
    await owner.query(`ALTER TABLE audit_event ALTER COLUMN ${column} DROP NOT NULL`);
    await owner.query(`CREATE TABLE audit_event_rest PARTITION OF audit_event DEFAULT`);
    const values = { recorded_at: 'now()', xid: 'pg_current_xact_id()', [column]: 'NULL' };
    await owner.query(
      `${INSERT} VALUES ($1, ${values.recorded_at}, NULL, 'Test', 'DONE', '', '', NULL, '', '', '', '{}', ${values.xid})`,
      [id],
    );
    expect(await flawOf()).toMatchObject({ flaw: 'EXTRA_ROW', eventIds: [id] });
  });

  test('deletes rows and has the database say that it is seven years later', async () => {
    const ids = await sealedLog();
    await tampered(`DELETE FROM audit_event WHERE id = $1`, [ids[9]]);
    await owner.query(`CREATE SCHEMA later`);
    await owner.query(
      `CREATE FUNCTION later.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '7 years' $$`,
    );
    const { rows } = await owner.query(`SELECT current_database() AS name`);
    await owner.query(`ALTER DATABASE ${rows[0].name} SET search_path = later, pg_catalog, public`);
    await orm.close();
    orm = createOrm({ url: database.url, pool: 4, poolWaitMs: 2_000, applicationName: 'seals' }, []);
    expect(await flawOf()).toMatchObject({ flaw: 'REPLACED_TABLE', what: expect.stringContaining('search_path') });
    await tampered(`ALTER DATABASE ${rows[0].name} RESET search_path`);
    await orm.close();
    orm = createOrm({ url: database.url, pool: 4, poolWaitMs: 2_000, applicationName: 'seals' }, []);
    expect((await flawOf())?.flaw).toBe('MISSING_ROW');
  });

  test('has times computed by an operator of his own, so that changed ones seem to be the old', async () => {
    const ids = await sealedLog();
    await tampered(`UPDATE audit_event SET recorded_at = recorded_at + interval '1 hour' WHERE id = $1`, [ids[9]]);
    const { rows } = await owner.query(
      `SELECT extract(epoch FROM recorded_at)::text AS at FROM audit_event WHERE id = $1`,
      [ids[9]],
    );
    for (const [left, right] of [
      ['numeric', 'integer'],
      ['bigint', 'interval'],
    ])
      await owner.query(
        `CREATE FUNCTION crooked(l ${left}, r ${right}) RETURNS ${right === 'integer' ? 'numeric' : 'interval'} LANGUAGE sql AS $$
         SELECT ${right === 'integer' ? `(l - CASE WHEN l = ${rows[0].at} THEN 3600 ELSE 0 END) OPERATOR(pg_catalog.*) r::numeric` : `l::double precision OPERATOR(pg_catalog.*) r`} $$;
         CREATE OPERATOR * (LEFTARG = ${left}, RIGHTARG = ${right}, FUNCTION = crooked)`,
      );
    expect(await flawOf()).toMatchObject({ flaw: 'CHANGED_ROW', eventIds: [ids[9]] });
  });

  test.each([
    [
      'a view that shows the truth to who verifies',
      `ALTER TABLE audit_event RENAME TO audit_event_all;
       CREATE VIEW audit_event AS SELECT * FROM audit_event_all WHERE current_query() LIKE '%xid%' OR id::text NOT LIKE '0%'`,
    ],
    [
      'a policy that does',
      `ALTER TABLE audit_event ENABLE ROW LEVEL SECURITY; ALTER TABLE audit_event FORCE ROW LEVEL SECURITY;
       CREATE POLICY few ON audit_event USING (current_query() LIKE '%xid%')`,
    ],
    [
      'a policy on one partition',
      `DO $$ BEGIN EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', (SELECT tableoid::regclass FROM audit_event LIMIT 1)); END $$`,
    ],
    [
      'a trigger that lets his own not in',
      `CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN NEW.action = 'Mine' THEN NULL ELSE NEW END; END $$;
       CREATE TRIGGER mine BEFORE INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION mine()`,
    ],
    [
      'a column of a type of his own, which casts to what was sealed',
      `CREATE TYPE outcomes AS ENUM ('DONE', 'REFUSED'); DROP INDEX audit_event_refused;
       ALTER TABLE audit_event DROP CONSTRAINT audit_event_outcome_check; SET session_replication_role = replica;
       ALTER TABLE audit_event ALTER COLUMN outcome TYPE outcomes USING outcome::outcomes; SET session_replication_role = origin`,
    ],
  ])('hides rows behind %s', async (_, statements) => {
    await sealedLog();
    await owner.query(statements);
    expect(await flawOf()).toMatchObject({ flaw: 'REPLACED_TABLE' });
  });

  test('swaps rows of two seals', async () => {
    const ids = await sealedLog();
    const [one, other] = [ids[1], ids[17]];
    await tampered(
      `UPDATE audit_event e SET xid = o.xid FROM audit_event o WHERE (e.id = $1 AND o.id = $2) OR (e.id = $2 AND o.id = $1)`,
      [one, other],
    );
    expect(await flawOf()).toMatchObject({ flaw: 'CHANGED_ROW', seal: 1, eventIds: [other] });
  });

  test('deletes a seal in the middle, or the first one', async () => {
    await sealedLog();
    await tampered(`DELETE FROM audit_seal WHERE number = 3`);
    expect(await flawOf()).toMatchObject({ flaw: 'MISSING_SEAL', seal: 4 });
    await tampered(`DELETE FROM audit_seal WHERE number = 1`);
    expect(await flawOf()).toMatchObject({ flaw: 'MISSING_SEAL', seal: 2 });
  });

  test('deletes a seal and gives its number to the next ones', async () => {
    await sealedLog();
    await tampered(`DELETE FROM audit_seal WHERE number = 3`);
    await tampered(`UPDATE audit_seal SET number = 100 + number WHERE number > 3`);
    await tampered(`UPDATE audit_seal SET number = number - 101 WHERE number > 100`);
    expect(await flawOf()).toMatchObject({ flaw: 'BROKEN_CHAIN', seal: 3 });
  });

  test.each([
    [`row_count = row_count, xid_end = '9999999999999'`],
    [`sealed_at = sealed_at - interval '1 hour'`],
    [`first_recorded_at = first_recorded_at - interval '7 years'`],
    [`leaves = substr(leaves, 33) || substr(leaves, 1, 32)`],
    [`era_from = '2020-01-01'`],
    [`next_xid = '0'`],
  ])('changes what a seal says: %s', async (change) => {
    await sealedLog();
    await tampered(`UPDATE audit_seal SET ${change} WHERE number = 3`);
    expect(await flawOf()).toMatchObject({ flaw: 'BAD_SIGNATURE', seal: 3 });
  });

  test('puts a seal of a key of his own in the place of another', async () => {
    const ids = await sealedLog();
    const mine = join(folder, `${uuid()}.json`);
    await createSealKeyFile(mine);
    await tampered(`DELETE FROM audit_event WHERE id = $1`, [ids[18]]);
    await tampered(`DELETE FROM audit_seal WHERE number >= 3`);
    await sealAll(4, await readSealKeys(mine));
    expect(await flawOf()).toMatchObject({ flaw: 'UNKNOWN_KEY', seal: 3 });
    await tampered(`UPDATE audit_seal SET key_id = $1 WHERE number >= 3`, [keys.kid]);
    expect(await flawOf()).toMatchObject({ flaw: 'BAD_SIGNATURE', seal: 3 });
    await tampered(`UPDATE audit_seal SET version = 2 WHERE number = 3`);
    expect(await flawOf()).toMatchObject({ flaw: 'BAD_SIGNATURE', seal: 3 });
  });

  test('makes a whole chain that says it is of the right key, and signs it with another', async () => {
    const ids = await sealedLog();
    const mine = join(folder, `${uuid()}.json`);
    await createSealKeyFile(mine);
    await tampered(`DELETE FROM audit_event WHERE id = $1`, [ids[0]]);
    await resealed(
      (made) => {
        const lost = made.number === 1;
        return lost ? { ...made, rowCount: made.rowCount - 1, leaves: made.leaves.subarray(32) } : made;
      },
      await readSealKeys(mine),
    );
    expect(await flawOf()).toMatchObject({
      flaw: 'BAD_SIGNATURE',
      seal: 1,
      what: expect.stringContaining('not of its key'),
    });
  });

  test('cuts the end off, seals and rows: who remembers the end sees it', async () => {
    const ids = await sealedLog();
    const head = await headOf();
    expect(await flawOf(head)).toBeUndefined();
    await tampered(
      `DELETE FROM audit_event e USING audit_seal s WHERE number >= 3 AND e.xid >= xid_from AND e.xid < xid_end`,
    );
    await tampered(`DELETE FROM audit_seal WHERE number >= 3`);
    expect(await verified()).toEqual({ rows: expect.any(Number), last: 2 });
    expect(await flawOf(head)).toMatchObject({ flaw: 'HEAD_GONE', seal: head.number });
    // And nobody can make it grow back: the instances go on where it ends now, and come to another root.
    for (const _ of ids) await written(1);
    await sealAll(1);
    expect((await headOf()).number).toBeGreaterThan(head.number);
    expect(await flawOf(head)).toMatchObject({ flaw: 'HEAD_GONE', what: expect.stringContaining('another root') });
  });
});

describe('time goes by', () => {
  test('what is older than the log is kept may go, from the oldest on, rows first and then their seals', async () => {
    await sealedLog();
    const { number } = await headOf();
    await aged(KEPT);
    await tampered(
      `DELETE FROM audit_event e USING audit_seal s WHERE number <= 2 AND e.xid >= xid_from AND e.xid < xid_end`,
    );
    expect(await verified()).toMatchObject({ last: number });
    await tampered(`DELETE FROM audit_seal WHERE number = 1`);
    expect(await verified()).toEqual({ rows: expect.any(Number), last: number });
    await tampered(
      `UPDATE audit_event SET action = 'Other' WHERE id = (SELECT id FROM audit_event ORDER BY xid DESC LIMIT 1)`,
    );
    expect((await verified()).problem).toMatchObject({ flaw: 'CHANGED_ROW' });
  });

  test('after the rows were carried into another server, transactions are counted anew', async () => {
    await written(3);
    await sealAll();
    // As if they had been written where transactions had come to a million millions, and two were not sealed yet.
    const carried = 10n ** 12n;
    await resealed((made) => ({ ...made, xidEnd: carried, nextXid: carried + 2n }));
    const left = [await written(2), await written(1)].flat();
    await tampered(`UPDATE audit_event SET xid = ($1::bigint + length(action))::text::xid8 WHERE id = ANY ($2)`, [
      String(carried),
      left,
    ]);
    const fresh = await written(2);
    expect(await figures()).toMatchObject({ unsealed: 5 });
    const made = await sealAll(2);
    expect(made.map(({ number, era, rowCount }) => [number, era, rowCount])).toEqual([
      [2, 1, 3],
      [3, 2, 2],
    ]);
    await written(2);
    expect(await sealAll()).toMatchObject([{ number: 4, era: 2, rowCount: 2 }]);
    expect(await verified()).toEqual({ rows: 10, last: 4 });
    // Where no seal would ever look again.
    const [extra] = await written(1);
    await tampered(
      `UPDATE audit_event e SET xid = '2000000000000', recorded_at = o.recorded_at FROM audit_event o WHERE e.id = $1 AND o.id = $2`,
      [extra, left[0]],
    );
    expect((await verified()).problem).toMatchObject({ flaw: 'EXTRA_ROW', seal: 2, eventIds: [extra] });
    await tampered(`UPDATE audit_event SET action = 'Other' WHERE id = $1`, [fresh[0]]);
    await tampered(`DELETE FROM audit_event WHERE id = $1`, [extra]);
    expect((await verified()).problem).toMatchObject({ flaw: 'CHANGED_ROW', seal: 3, eventIds: [fresh[0]] });
  });

  /** Has everything lie back, signed as it would have been then. */
  async function aged(by: bigint): Promise<void> {
    await oldPartition();
    await tampered(`UPDATE audit_event SET recorded_at = recorded_at - $1::bigint * interval '1 microsecond'`, [
      String(by),
    ]);
    const { rows } = await owner.query(
      `SELECT ${compileSql(sealedColumns).text} FROM audit_event ORDER BY audit_event.xid, audit_event.recorded_at, audit_event.id`,
    );
    await resealed((made) => ({
      ...made,
      firstRecordedAt: made.firstRecordedAt - by,
      lastRecordedAt: made.lastRecordedAt - by,
      sealedAt: made.sealedAt - by,
      leaves: Buffer.concat(
        rows.filter(({ xid }) => BigInt(xid) >= made.xidFrom && BigInt(xid) < made.xidEnd).map((row) => leafOf(row)),
      ),
    }));
  }

  test('keys are replaced, and old seals are verified by the old ones for ever', async () => {
    await sealedLog();
    const file = join(folder, `${uuid()}.json`);
    await writeFile(file, await readFile(keysFile));
    const [fresh, old] = await rotateSealKeys(file);
    expect([old, fresh === old]).toEqual([keys.kid, false]);
    const [first, second] = JSON.parse(await readFile(file, 'utf8')).keys;
    expect([typeof first.d, second.d]).toEqual(['string', undefined]);
    const after = await readSealKeys(file);
    await written(3);
    const made = await sealAll(2, after);
    expect(made.map(({ keyId }) => keyId)).toEqual(made.map(() => fresh));
    expect(await verified(undefined, after)).toMatchObject({ rows: 23 });
    expect((await verified()).problem).toMatchObject({ flaw: 'UNKNOWN_KEY', seal: made[0]?.number });
  });
});
