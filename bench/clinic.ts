import type { AccessTokens } from '../src/auth/access-token.ts';
import type { Caller } from '../src/caller.ts';
import type { BenchDatabase } from './bench-database.ts';
import type { Stage } from './stage.ts';

/** Of ids that statements of pgbench can make, which knows only numbers: what stands behind the number in those of a kind. */
const KIND = {
  doctor: '70008001000000000000',
  patient: '70008002000000000000',
  session: '70008003000000000000',
  slot: '70008004000000000000',
  request: '70008005000000000000',
  booking: '70008006000000000000',
  event: '70008007000000000000',
  doctorSession: '70008008000000000000',
} as const;
/** Gives every number twelve digits, where a UUIDv7 has its time. */
const BASE = 100_000_000_000;

/** The id of the `n`-th of a kind. */
export function idOf(kind: keyof typeof KIND, n: number): string {
  const digits = `${BASE + n}${KIND[kind]}`;
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** The number of an id that `idOf` made. */
export function numberOf(id: string): number {
  return Number(id.slice(0, 8) + id.slice(9, 13)) - BASE;
}

/** The id in SQL, where `n` is an expression for the number. */
export function sqlIdOf(kind: keyof typeof KIND, n: string): string {
  return `((${BASE} + ${n}) || '${KIND[kind]}')::uuid`;
}

/** How much there is. */
export interface Size {
  readonly doctors: number;
  /** Of each doctor: slots of 30 minutes, 16 a day from tomorrow on. */
  readonly slotsEach: number;
  /** Patients, each with a session; as many as doctors when absent. */
  readonly patients?: number;
}

/** Slots of a doctor on one day. */
export const SLOTS_A_DAY = 16;
const WORDS = ['Ayurveda', 'Dermatology', 'Paediatrics', 'Psychiatry', 'Gynaecology', 'General medicine', 'Nutrition'];
const NAMES = ['Ananya', 'Rohan', 'Lakshmi', 'Farhan', 'Meera', 'Kabir', 'Ishaan', 'Zoya', 'Arjun', 'Diya'];
const FAMILIES = [
  'Sharma',
  'Mehta',
  'Iyer',
  'Qureshi',
  'Nair',
  'Singh',
  'Das',
  'Reddy',
  'Banerjee',
  'Kulkarni',
  'Patil',
];

/**
 * Fills a migrated database: slot n is the (n div doctors)-th of doctor n mod doctors. Indexes, and constraints that would be
 * checked row by row, are made again afterwards: 20 s for a million slots, most of it to check that none overlap.
 */
export async function fill(database: BenchDatabase, { doctors, slotsEach, patients = doctors }: Size): Promise<void> {
  const { query } = database;
  const people = `
    INSERT INTO app_user (id, email, password_hash, display_name, role, state, time_zone, failed_sign_ins, created_at, updated_at)
    SELECT id, id || '@bench.test', 'none', name, role, 'ACTIVE', 'Asia/Kolkata', 0, now(), now() FROM`;
  await query(`${people} (SELECT ${sqlIdOf('patient', 'n')} AS id, 'A patient ' || n AS name, 'PATIENT' AS role
    FROM generate_series(0, ${patients - 1}) n) p`);
  await query(
    `${people} (SELECT ${sqlIdOf('doctor', 'n')} AS id, 'DOCTOR' AS role,
      'Dr. ' || ($1::text[])[1 + n % ${NAMES.length}] || ' ' || ($2::text[])[1 + n / 7 % ${FAMILIES.length}] AS name
    FROM generate_series(0, ${doctors - 1}) n) p`,
    [NAMES, FAMILIES],
  );
  await query(
    `
    INSERT INTO doctor (user_id, specialties, specialty_keys, languages, language_keys, bio, state, created_at, updated_at)
    SELECT ${sqlIdOf('doctor', 'n')}, ARRAY[word], ARRAY[lower(word)], ARRAY['en', 'hi'], ARRAY['en', 'hi'], 'Twelve years of practice.', 'ACTIVE', now(), now()
    FROM (SELECT n, ($1::text[])[1 + n % ${WORDS.length}] AS word FROM generate_series(0, ${doctors - 1}) n) d`,
    [WORDS],
  );
  const sessions = (kind: 'session' | 'doctorSession', who: 'patient' | 'doctor', count: number) =>
    query(`
    INSERT INTO session (id, user_id, user_agent, client_address, created_at, refreshed_at, idle_expires_at, expires_at)
    SELECT ${sqlIdOf(kind, 'n')}, ${sqlIdOf(who, 'n')}, 'bench', '127.0.0.1', now(), now(), now() + interval '7 days', now() + interval '30 days'
    FROM generate_series(0, ${count - 1}) n`);
  await sessions('session', 'patient', patients);
  await sessions('doctorSession', 'doctor', doctors);
  await fillSlots(database, doctors, slotsEach);
  await query('VACUUM (ANALYZE)');
}

interface Remade {
  readonly drop: string;
  readonly make: string;
}

/** In the order in which doctors publish them: those of one lie together. */
async function fillSlots({ query }: BenchDatabase, doctors: number, slotsEach: number): Promise<void> {
  const remade = await query<Remade>(`
    SELECT 'ALTER TABLE slot DROP CONSTRAINT ' || conname AS drop,
      'ALTER TABLE slot ADD CONSTRAINT ' || conname || ' ' || pg_get_constraintdef(oid) AS make
    FROM pg_constraint WHERE conrelid = 'slot'::regclass AND contype IN ('f', 'x')
    UNION ALL SELECT 'DROP INDEX ' || indexrelid::regclass, pg_get_indexdef(indexrelid)
    FROM pg_index WHERE indrelid = 'slot'::regclass AND indexrelid NOT IN (SELECT conindid FROM pg_constraint)`);
  for (const { drop } of remade) await query(drop);
  await query(`
    INSERT INTO slot (id, doctor_id, start_at, end_at, state, created_at, updated_at)
    SELECT ${sqlIdOf('slot', `(nth::bigint * ${doctors} + doctor)`)}, ${sqlIdOf('doctor', 'doctor')}, start_at, start_at + interval '30 min', 'OPEN', now(), now()
    FROM generate_series(0, ${doctors - 1}) doctor, LATERAL (
      SELECT nth, date_trunc('day', now()) + interval '1 day 8 hours' + nth / ${SLOTS_A_DAY} * interval '1 day'
        + nth % ${SLOTS_A_DAY} * interval '30 min' AS start_at
      FROM generate_series(0, ${slotsEach - 1}) nth) s`);
  await query(`SET maintenance_work_mem = '1GB'`);
  for (const { make } of remade) await query(make);
}

/** Request headers of one who calls. */
export interface Headers {
  readonly [name: string]: string;
  readonly authorization: string;
}

/** Headers of the first `count` patients. Tokens are good for ten minutes. */
export function patientHeaders({ tokens }: Pick<Stage, 'tokens'>, count: number): Promise<Headers[]> {
  return Promise.all(
    Array.from({ length: count }, (_, n) =>
      headersOf(tokens, { userId: idOf('patient', n), sessionId: idOf('session', n), role: 'PATIENT' }),
    ),
  );
}

/** Headers of the `n`-th doctor. The token is good for ten minutes. */
export function doctorHeaders({ tokens }: Pick<Stage, 'tokens'>, n: number): Promise<Headers> {
  return headersOf(tokens, { userId: idOf('doctor', n), sessionId: idOf('doctorSession', n), role: 'DOCTOR' });
}

async function headersOf(tokens: AccessTokens, caller: Caller): Promise<Headers> {
  return { authorization: `Bearer ${(await tokens.issue(caller)).token}` };
}
