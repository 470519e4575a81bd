import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { AvailabilityService } from '../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingService } from '../gen/amrutam/booking/v1/booking_pb.ts';
import { startServer, type TestServer } from '../test/support/server.ts';
import { startBareServer } from './bare-booking.ts';
import type { BenchDatabase } from './bench-database.ts';
import { countBookings } from './bookings.ts';
import { fill, idOf, numberOf, patientHeaders, sqlIdOf } from './clinic.ts';
import { startConstantServer } from './constant.ts';
import { type Load, startLoad } from './load.ts';
import { hasPgbench, pgbench, pgbenchScript } from './pgbench.ts';
import { createProfiles } from './profiles.ts';
import { type Program, startProgram } from './program.ts';
import { realAnswers } from './real-answers.ts';
import { type RecordedBooking, recordBooking } from './recorded-booking.ts';
import { roundOf } from './side.ts';

const DOCTORS = 20;
const SLOTS_EACH = 32;

let server: TestServer;
let database: BenchDatabase;
let recorded: RecordedBooking;
let load: Load;
let folder: string;
const programs: Program[] = [];
const program = async (file: string, args?: readonly string[]) => {
  const started = await startProgram(file, args);
  programs.push(started);
  return started;
};

beforeAll(async () => {
  server = await startServer();
  const client = new pg.Client(server.url);
  await client.connect();
  database = {
    url: server.url,
    query: async (text, values = []) => (await client.query(text, [...values])).rows,
    close: () => client.end(),
  };
  folder = await mkdtemp(join(tmpdir(), 'amrutam-bench-test-'));
  await fill(database, { doctors: DOCTORS, slotsEach: SLOTS_EACH });
  recorded = await recordBooking(server.url, 0);
  load = startLoad();
});

afterAll(async () => {
  load?.close();
  for (const { stop } of programs) await stop();
  await database?.close();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** BookSlot of the slots from `first` on, by the patients of the same numbers; `again` makes it other requests. */
async function bookings(first: number, count: number, again = 0) {
  const messages = Array.from({ length: count }, (_, i) => {
    const n = first + i;
    const request = { requestId: idOf('request', n + again), slotId: idOf('slot', n), reasonForVisit: 'a cough' };
    return [n % DOCTORS, request] as const;
  });
  return { method: BookingService.method.bookSlot, callers: await patientHeaders(server, DOCTORS), messages };
}

/** What a booking of slot `n` leaves behind, but for what differs in each. */
async function left(n: number) {
  return database.query(
    `SELECT b.doctor_id, b.patient_id, b.start_at = s.start_at AND b.end_at = s.end_at AS times, b.state, b.reason_for_visit,
       s.state AS slot, s.doctor_id = b.doctor_id AS his, s.updated_at > s.created_at AS touched, code, length(answer) AS answer,
       action, outcome, actor_id, e.patient_id AS patient, session_id, e.request_id = i.request_id AS same, changed_fields
     FROM slot s JOIN booking b ON slot_id = s.id JOIN audit_event e ON entity_id = b.id
       JOIN idempotency i ON (caller_id, i.request_id) = (b.patient_id, e.request_id)
     WHERE s.id = $1`,
    [idOf('slot', n)],
  );
}

/** The slot `n` is booked as slot 0 was when it was recorded. */
async function expectBooked(n: number): Promise<void> {
  const [{ answer: _, ...like } = {}] = await left(0);
  const patient = idOf('patient', n % DOCTORS);
  const own = { doctor_id: idOf('doctor', n % DOCTORS), session_id: idOf('session', n % DOCTORS), actor_id: patient };
  expect(await left(n)).toEqual([{ ...like, ...own, patient_id: patient, patient, answer: expect.any(Number) }]);
  expect(like).toMatchObject({ slot: 'BOOKED', times: true, his: true, touched: true, code: 0, same: true });
}

describe('the load generator', () => {
  test('tells answers from refusals', async () => {
    const answered = await load.call([server.grpcPort], await bookings(40, 60), { inFlight: 8 });
    expect([answered.latencies.length, answered.refusedAfter.length]).toEqual([60, 0]);
    for (const n of [40, 99]) await expectBooked(n);
    const refused = await load.call([server.grpcPort], await bookings(80, 40, 1_000), { inFlight: 8 });
    expect([refused.latencies.length, refused.refusedAfter.length]).toEqual([20, 20]);
    await expect(roundOf(async () => refused, {})).rejects.toThrow('20 of 40 calls were refused');
  });

  test('makes every call once, over several ports, or again and again for a time', async () => {
    const [one, other] = [await program('canned-server.ts', ['240']), await program('canned-server.ts', ['240'])];
    const calls = await bookings(0, 1_000);
    const once = await load.call([one.grpcPort, other.grpcPort], calls, { inFlight: 32 });
    expect([once.latencies.length, once.refusedAfter.length]).toEqual([1_000, 0]);
    const timed = await load.call([one.grpcPort], await bookings(0, 3), { inFlight: 4, seconds: 0.2 });
    expect(timed.latencies.length).toBeGreaterThan(3);
  });

  test('says so when nobody is there, and can go on', async () => {
    const { grpcPort, stop } = await program('canned-server.ts');
    await stop();
    await expect(load.call([grpcPort], await bookings(0, 1), { inFlight: 1 })).rejects.toThrow('ECONNREFUSED');
    const answered = await load.call([server.grpcPort], await bookings(120, 1), { inFlight: 1 });
    expect(answered.latencies).toHaveLength(1);
  });
});

test('ids are the same in JavaScript and in SQL, and UUIDv7', async () => {
  for (const kind of ['doctor', 'patient', 'slot', 'event', 'doctorSession'] as const) {
    for (const n of [0, 7, 10_000_000]) {
      const [row] = await database.query<{ id: string }>(`SELECT ${sqlIdOf(kind, `${n}`)} AS id`);
      expect(row?.id).toBe(idOf(kind, n));
      expect(row?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      expect(numberOf(idOf(kind, n))).toBe(n);
    }
  }
});

test('constraints and indexes of the slots are there again', async () => {
  const names = await database.query<{ name: string }>(
    `SELECT conname AS name FROM pg_constraint WHERE conrelid = 'slot'::regclass AND contype IN ('f', 'x')
     UNION SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'slot'::regclass AND indisvalid ORDER BY name`,
  );
  const wanted = [
    'slot_by_doctor',
    'slot_by_schedule',
    'slot_by_start',
    'slot_doctor_id_fkey',
    'slot_never_overlaps',
    'slot_pkey',
    'slot_schedule_id_fkey',
  ];
  expect(names.map(({ name }) => name)).toEqual(wanted);
});

describe('a recorded booking', () => {
  test('has everything that differs named', () => {
    expect(recorded.statements.map(({ text }) => text.split(' ', 1)[0])).toEqual(['start', 'WITH', 'WITH', 'commit']);
    expect(recorded.statements.map(({ withNext }) => withNext)).toEqual([true, false, false, false]);
    const named = JSON.stringify(recorded.statements).match(/(?<="each":")\w+/g);
    const all = ['patient', 'session', 'doctor', 'slot', 'request', 'booking', 'event', 'start', 'end', 'now'];
    expect([...new Set(named)].sort()).toEqual(all.sort());
    const own = ['slot', 'doctor', 'patient'].map((kind) => idOf(kind as 'slot', 0));
    expect(own.filter((id) => JSON.stringify(recorded.statements).includes(id))).toEqual([]);
  });

  test('is a booking when the bare server sends it', async () => {
    const { grpcPort } = await startBareServer({ folder, program }, recorded, { url: server.url, doctors: DOCTORS });
    const before = await countBookings(database);
    const { latencies } = await load.call([grpcPort], await bookings(200, 50), { inFlight: 8 });
    expect([latencies.length, await countBookings(database)]).toEqual([50, before + 50]);
    for (const n of [200, 249]) await expectBooked(n);
  });

  test('is a booking when the script for pgbench is run', async () => {
    for (const line of pgbenchScript(recorded, DOCTORS).split('\n')) {
      if (line && !line.startsWith('\\')) await database.query(line.replaceAll(/(?<!:):n\b/g, '300'));
    }
    await expectBooked(300);
  });

  test('is a booking when pgbench sends it, where there is pgbench', async () => {
    if (!hasPgbench()) return;
    const before = await countBookings(database);
    const run = { url: server.url, clients: 4, first: 400, bookings: 40, doctors: DOCTORS };
    const { latencies, elapsedMs } = await pgbench(recorded, run);
    expect([latencies.length, await countBookings(database)]).toEqual([40, before + 40]);
    expect(elapsedMs).toBeGreaterThan(0);
    for (const n of [400, 439]) await expectBooked(n);
  });
});

test('a profile tells which parts of a server the CPU time of each call went to', async () => {
  const profiles = createProfiles(folder);
  const messages = [[0, { doctorId: idOf('doctor', 0) }]] as const;
  const calls = { method: AvailabilityService.method.listSlots, callers: [{}], messages };
  const how = profiles.prepare();
  const profiled = (file: string, args?: readonly string[]) => startProgram(file, args, how);
  const answers = await realAnswers(server.grpcPort, calls);
  const constant = await startConstantServer({ folder, program: profiled }, calls.method, answers);
  programs.push(constant);
  how.started(constant.pid);
  for (let twice = 0; twice < 2; twice++) {
    const ask = () => load.call([constant.grpcPort], calls, { inFlight: 8, seconds: 0.5 });
    const { parts = {}, cpu } = await roundOf(ask, { service: [constant.pid], profiles });
    expect(parts['@grpc/grpc-js']).toBeGreaterThan(0);
    expect(parts['Node: HTTP/2, streams, timers']).toBeGreaterThan(0);
    expect(parts).not.toHaveProperty('pg');
    const sum = Object.values(parts).reduce((all, part) => all + part, 0);
    expect(sum).toBeCloseTo(cpu.service as number, 5);
  }
  await expect(profiles.during(process.pid, async () => {})).rejects.toThrow("can't be profiled");
});

test('a constant server answers real answers, in turn', async () => {
  const messages = [0, 1].map((n) => [0, { doctorId: idOf('doctor', n) }] as const);
  const calls = { method: AvailabilityService.method.listSlots, callers: [{}], messages };
  const real = await realAnswers(server.grpcPort, calls);
  const { grpcPort } = await startConstantServer({ folder, program }, calls.method, real);
  expect(await realAnswers(grpcPort, calls)).toEqual(real);
});
