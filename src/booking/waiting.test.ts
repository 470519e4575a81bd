import { randomUUIDv7 as uuid } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Clients, clientsOf, reasonOf } from '../../test/support/calls.ts';
import { brokenInvariants, openSlots, type Person, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';

// A statement that waits for a lock has read everything else before: what changes meanwhile must count all the same.

let server: TestServer;
let clients: Clients;
let admin: Person;
let doctor: Person;
let patient: Person;
let holder: pg.Client;

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
  admin = await person(server, 'ADMINISTRATOR');
  holder = new pg.Client(server.url);
  await holder.connect();
});

afterAll(async () => {
  expect(await brokenInvariants(server)).toEqual({});
  await holder.end();
  await server.stop();
});

/** Starts a booking that waits for its patient's row, does `meanwhile`, and lets the booking go on. */
async function bookWhile(slotId: string, meanwhile: () => Promise<unknown>) {
  await holder.query('BEGIN');
  await holder.query('SELECT FROM app_user WHERE id = $1 FOR UPDATE', [patient.id]);
  const booking = clients.booking.bookSlot({ requestId: uuid(), slotId }, patient);
  booking.catch(() => {});
  await waiting();
  await meanwhile();
  await holder.query('COMMIT');
  return booking;
}

async function waiting(): Promise<void> {
  const asked = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
  for (let tries = 0; tries < 200; tries++) {
    const { rows } = await holder.query<{ n: number }>(asked);
    if (rows[0]?.n) return;
    await sleep(5);
  }
  throw new Error('the booking does not wait');
}

async function freshSlot(): Promise<string> {
  [doctor, patient] = [await person(server, 'DOCTOR'), await person(server, 'PATIENT')];
  return (await openSlots(server, doctor.id))[0]?.id as string;
}

test('a doctor suspended while a booking waits is not booked, and the suspension has counted right', async () => {
  const slotId = await freshSlot();
  let counted: bigint | undefined;
  const booking = bookWhile(slotId, async () => {
    counted = (await clients.admin.suspendDoctor({ doctorId: doctor.id }, admin)).upcomingBookings;
  });
  expect(await reasonOf(booking)).toBe('SLOT_NOT_FOUND');
  expect(counted).toBe(0n);
});

test('a doctor approved while a booking waits is booked: nobody is told of a taken slot that nobody has', async () => {
  const slotId = await freshSlot();
  await clients.admin.suspendDoctor({ doctorId: doctor.id }, admin);
  const { booking } = await bookWhile(slotId, () => clients.admin.approveDoctor({ doctorId: doctor.id }, admin));
  expect(booking?.slotId).toBe(slotId);
});

test('a session ended while its call waits books nothing', async () => {
  const slotId = await freshSlot();
  const booking = bookWhile(slotId, () =>
    holder.query('UPDATE session SET revoked_at = clock_timestamp() WHERE id = $1', [patient.sessionId]),
  );
  expect(await reasonOf(booking)).toBe('SESSION_REVOKED');
});
