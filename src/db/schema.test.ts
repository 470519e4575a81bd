import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';

let database: TestDatabase;
let client: pg.Client;

const PATIENT = '01900000-0000-7000-8000-000000000001';
const OTHER_PATIENT = '01900000-0000-7000-8000-000000000002';
const DOCTOR = '01900000-0000-7000-8000-000000000003';
const OTHER_DOCTOR = '01900000-0000-7000-8000-000000000004';

beforeAll(async () => {
  database = await freshDatabase();
  client = new pg.Client(database.url);
  await client.connect();
  for (const id of [PATIENT, OTHER_PATIENT, DOCTOR, OTHER_DOCTOR])
    await client.query(
      `INSERT INTO app_user (id, email, password_hash, display_name, role, state, time_zone, failed_sign_ins, created_at, updated_at)
       VALUES ($1::uuid, $1::text || '@example.test', 'none', 'Somebody', 'PATIENT', 'ACTIVE', 'UTC', 0, now(), now())`,
      [id],
    );
  await client.query(`
    INSERT INTO doctor (user_id, specialties, specialty_keys, languages, language_keys, bio, state, created_at, updated_at)
    SELECT id, '{}', '{}', '{}', '{}', '', 'ACTIVE', now(), now() FROM app_user WHERE id IN ('${DOCTOR}', '${OTHER_DOCTOR}')`);
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

async function column<T>(sql: string): Promise<T[]> {
  return (await client.query({ text: sql, rowMode: 'array' })).rows.map(([value]) => value as T);
}

/** What the database says to a statement: the name of the violated constraint, the SQLSTATE without one, or `done`. */
async function verdict(sql: string): Promise<string> {
  await client.query('BEGIN');
  try {
    await client.query(sql);
    return 'done';
  } catch (error) {
    const { constraint, code } = error as pg.DatabaseError;
    return constraint ?? code ?? String(error);
  } finally {
    await client.query('ROLLBACK');
  }
}

test('a slot is booked and freed in place: no index gets a new entry, so none names what changes', async () => {
  await client.query('BEGIN');
  await client.query(`INSERT INTO slot (id, doctor_id, start_at, end_at, state, created_at, updated_at)
    VALUES (gen_random_uuid(), '${DOCTOR}', '2030-01-01 10:00Z', '2030-01-01 10:30Z', 'OPEN', now(), now())`);
  for (const state of ['BOOKED', 'OPEN']) await client.query(`UPDATE slot SET state = '${state}', updated_at = now()`);
  const inPlace = await column<string>(`SELECT n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'slot'`);
  await client.query('ROLLBACK');
  expect(inPlace).toEqual(['2']);
});

describe('every table', () => {
  test('has an index for each foreign key, whose leading columns are the key’s', async () => {
    const keys = await column<string>(`SELECT conname FROM pg_constraint WHERE contype = 'f'`);
    expect(keys.length).toBeGreaterThanOrEqual(7);
    const bare = await column<string>(`
      SELECT conrelid::regclass || '.' || conname FROM pg_constraint c WHERE contype = 'f' AND NOT EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indisvalid
          AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) = (
            SELECT format('(%I IS NOT NULL)', attname) FROM pg_attribute WHERE attrelid = c.conrelid AND attnum = c.conkey[1]))
          AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey)`);
    expect(bare).toEqual([]);
  });

  test('keeps times with their zone; a date is no time', async () => {
    const zoned = await column<string>(`
      SELECT table_name || '.' || column_name FROM information_schema.columns
      WHERE table_schema = 'public' AND table_name <> 'mikro_orm_migrations'
        AND (column_name ~ '_at$|_until$' OR data_type ~ '^(time|interval)') AND data_type <> 'timestamp with time zone'`);
    expect(zoned).toEqual([]);
    const all = await column(`SELECT 1 FROM information_schema.columns WHERE table_schema = 'public'
      AND table_name NOT LIKE 'audit_event_%' AND data_type = 'timestamp with time zone'`);
    expect(all.length).toBeGreaterThan(15);
  });

  test('has no constraint that waits for the commit', async () => {
    expect(await column(`SELECT conname FROM pg_constraint WHERE condeferrable`)).toEqual([]);
  });

  test('calls nothing by a schema’s name and notifies nobody: a search path is enough to move it', async () => {
    expect(
      await column(`SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
      WHERE nspname = 'public' AND prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c')
        AND prosrc ~* 'notify|public\\.'`),
    ).toEqual([]);
  });
});

describe('the audit log', () => {
  const partitions = () =>
    column<string>(
      `SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_event'::regclass ORDER BY 1`,
    );

  beforeAll(async () => {
    await client.query(`
      INSERT INTO audit_event (id, recorded_at, action, outcome, reason, entity_type, trace_id, client_address, instance, changed_fields, xid)
      VALUES (gen_random_uuid(), now(), 'Test', 'DONE', '', '', '', '', '', '{}', pg_current_xact_id())`);
  });

  test('has partitions for this month and 24 more, and none for everything else', async () => {
    const months = await column<string>(`
      SELECT 'audit_event_' || to_char(m, 'YYYY_MM') FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'),
        date_trunc('month', now() AT TIME ZONE 'UTC') + interval '24 months', interval '1 month') m ORDER BY 1`);
    expect(await partitions()).toEqual(months);
    expect(months).toHaveLength(25);
    expect(await column(`SELECT partdefid FROM pg_partitioned_table`)).toEqual([0]);
  });

  test('the months meet without gap or overlap: their first and last moments have a place', async () => {
    for (const edge of ["+ interval '0'", "+ interval '1 month' - interval '1 microsecond'", "+ interval '24 months'"])
      expect(
        await verdict(`
          INSERT INTO audit_event (id, recorded_at, action, outcome, reason, entity_type, trace_id, client_address, instance, changed_fields, xid)
          SELECT gen_random_uuid(), (date_trunc('month', now() AT TIME ZONE 'UTC') ${edge}) AT TIME ZONE 'UTC',
            'Test', 'DONE', '', '', '', '', '', '{}', pg_current_xact_id()`),
      ).toBe('done');
  });

  test('refuses UPDATE, DELETE and TRUNCATE, on the whole and on every partition', async () => {
    const tables = ['audit_event', ...(await partitions())];
    const attempts = tables.flatMap((table) => [
      `UPDATE ${table} SET reason = 'edited'`,
      `DELETE FROM ${table}`,
      `TRUNCATE ${table}`,
    ]);
    const verdicts = new Set<string>();
    for (const attempt of attempts) verdicts.add(await verdict(attempt));
    expect([...verdicts]).toEqual(['23001']);
  });

  test('a month that is made later refuses the same', async () => {
    const [last] = (await partitions()).slice(-1);
    await client.query(`SELECT ensure_audit_partitions(25)`);
    const added = (await partitions()).filter((name) => name > (last as string));
    expect(added).toHaveLength(1);
    expect(await verdict(`DELETE FROM ${added[0]}`)).toBe('23001');
    expect(await verdict(`TRUNCATE ${added[0]}`)).toBe('23001');
  });
});

describe('slots, by raw SQL', () => {
  const slot = (start: string, end: string, { doctor = DOCTOR, state = 'OPEN' } = {}) =>
    `INSERT INTO slot (id, doctor_id, start_at, end_at, state, created_at, updated_at)
     VALUES (gen_random_uuid(), '${doctor}', '${start}', '${end}', '${state}', now(), now());`;
  const nine = slot('2031-01-01T09:00Z', '2031-01-01T09:30Z');

  test.each([
    ['the same time twice', nine + nine, 'slot_never_overlaps'],
    ['times that overlap by a minute', nine + slot('2031-01-01T09:29Z', '2031-01-01T10:00Z'), 'slot_never_overlaps'],
    [
      'open beside booked',
      nine + slot('2031-01-01T09:00Z', '2031-01-01T09:30Z', { state: 'BOOKED' }),
      'slot_never_overlaps',
    ],
    ['one after the other', nine + slot('2031-01-01T09:30Z', '2031-01-01T10:00Z'), 'done'],
    ['another doctor', nine + slot('2031-01-01T09:00Z', '2031-01-01T09:30Z', { doctor: OTHER_DOCTOR }), 'done'],
    [
      'the time of a withdrawn one',
      slot('2031-01-01T09:00Z', '2031-01-01T09:30Z', { state: 'WITHDRAWN' }).repeat(2) + nine,
      'done',
    ],
    [
      'a doctor who doesn’t exist',
      slot('2031-01-01T09:00Z', '2031-01-01T09:30Z', { doctor: PATIENT }),
      'slot_doctor_id_fkey',
    ],
  ])('%s: %#', async (_, sql, expected) => {
    expect(await verdict(sql)).toBe(expected);
  });

  test.each([
    ['backwards', '2031-01-01T09:30Z', '2031-01-01T09:00Z'],
    ['empty', '2031-01-01T09:00Z', '2031-01-01T09:00Z'],
    ['4 minutes', '2031-01-01T09:00Z', '2031-01-01T09:04Z'],
    ['over 8 hours', '2031-01-01T09:00Z', '2031-01-01T17:01Z'],
    ['not a whole minute', '2031-01-01T09:00:01Z', '2031-01-01T09:30Z'],
    ['a microsecond beside the minute', '2031-01-01T09:00Z', '2031-01-01T09:30:00.000001Z'],
    ['before 1970', '1969-12-31T09:00Z', '1969-12-31T09:30Z'],
    ['after 2199', '2200-01-01T09:00Z', '2200-01-01T09:30Z'],
    ['endless', '2031-01-01T09:00Z', 'infinity'],
  ])('impossible times are refused: %s', async (_, start, end) => {
    expect(await verdict(slot(start, end))).toMatch(/^slot_.*check\d*$|^22/);
  });

  test('a state that isn’t one is refused', async () => {
    expect(await verdict(slot('2031-01-01T09:00Z', '2031-01-01T09:30Z', { state: 'FREE' }))).toBe('slot_state_check');
  });
});

describe('bookings, by raw SQL', () => {
  const SLOTS = [1, 2, 3].map((n) => `01900000-0000-7000-8000-00000000010${n}`);
  const ROLE: Record<string, string> = { CANCELLED: `'DOCTOR'` };
  const booking = (slot: number, { patient = PATIENT, state = 'CONFIRMED' } = {}) =>
    `INSERT INTO booking (id, slot_id, doctor_id, patient_id, start_at, end_at, state, reason_for_visit, cancel_reason,
       cancelled_by_role, created_at, updated_at)
     SELECT gen_random_uuid(), id, doctor_id, '${patient}', start_at, end_at, '${state}', '', '', ${ROLE[state] ?? 'NULL'}, now(), now()
     FROM slot WHERE id = '${SLOTS[slot]}';`;
  const [first, sameTime, later] = [0, 1, 2];

  beforeAll(async () => {
    const times = [
      [DOCTOR, '2032-01-01T09:00Z', '2032-01-01T09:30Z'],
      [OTHER_DOCTOR, '2032-01-01T09:15Z', '2032-01-01T09:45Z'],
      [DOCTOR, '2032-01-01T09:30Z', '2032-01-01T10:00Z'],
    ];
    for (const [i, [doctor, start, end]] of times.entries())
      await client.query(`INSERT INTO slot VALUES ($1, $2, $3, $4, 'BOOKED', now(), now())`, [
        SLOTS[i],
        doctor,
        start,
        end,
      ]);
  });

  test.each(['CONFIRMED', 'CHECKED_IN', 'IN_PROGRESS', 'COMPLETED', 'NO_SHOW'])(
    'a slot of a booking that is %s can’t have a second one',
    async (state) => {
      const sql = booking(first, { state }) + booking(first, { patient: OTHER_PATIENT });
      expect(await verdict(sql)).toBe('booking_one_per_slot');
    },
  );

  test('cancelled bookings hold no slot, however many', async () => {
    const cancelled = booking(first, { state: 'CANCELLED' });
    expect(await verdict(cancelled + cancelled + booking(first))).toBe('done');
  });

  test.each(['CONFIRMED', 'CHECKED_IN', 'IN_PROGRESS'])(
    'a patient with a booking that is %s can’t be elsewhere at that time',
    async (state) => {
      expect(await verdict(booking(first, { state }) + booking(sameTime))).toBe('booking_patient_in_one_place');
    },
  );

  test.each(['COMPLETED', 'NO_SHOW', 'CANCELLED'])('a booking that is %s leaves the patient free', async (state) => {
    expect(await verdict(booking(first, { state }) + booking(sameTime))).toBe('done');
  });

  test('one appointment right after the other is fine, as is another patient at the same time', async () => {
    expect(await verdict(booking(first) + booking(later))).toBe('done');
    expect(await verdict(booking(first) + booking(sameTime, { patient: OTHER_PATIENT }))).toBe('done');
  });

  test('who cancelled is known of cancelled bookings, and of no other', async () => {
    const free = booking(first);
    expect(await verdict(`${free} UPDATE booking SET state = 'CANCELLED'`)).toMatch(/^booking_check/);
    expect(await verdict(`${free} UPDATE booking SET cancelled_by_role = 'DOCTOR'`)).toMatch(/^booking_check/);
  });

  test('a slot that was booked can’t be deleted', async () => {
    expect(await verdict(`${booking(first)} DELETE FROM slot WHERE id = '${SLOTS[first]}'`)).toBe(
      'booking_slot_id_fkey',
    );
  });
});

test('an e-mail address has one account, whatever its letter case', async () => {
  const account = (email: string) =>
    `INSERT INTO app_user (id, email, password_hash, display_name, role, state, time_zone, failed_sign_ins, created_at, updated_at)
     VALUES (gen_random_uuid(), '${email}', '', 'A', 'PATIENT', 'ACTIVE', 'UTC', 0, now(), now());`;
  expect(await verdict(account('a@example.test') + account('a@example.test'))).toBe('app_user_email');
  expect(await verdict(account('A@example.test'))).toBe('app_user_email_check');
});
