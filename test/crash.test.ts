import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Role } from '../gen/amrutam/access/v1/access_pb.ts';
import { BookingState } from '../gen/amrutam/booking/v1/booking_pb.ts';
import { brokenInvariants, openSlots, person } from './support/people.ts';
import { type BothClients, clientsOf, outcomeOf } from './support/process-client.ts';
import { type DatabaseProxy, type StoppedCommit, startDatabaseProxy } from './support/process-proxy.ts';
import { endProcesses, runCommand, type Service, startService } from './support/process-service.ts';
import { startServer, type TestServer } from './support/server.ts';

const PASSWORD = 'a long enough secret';

let server: TestServer; // prepares and looks; the calls go to processes
let folder: string;
let proxy: DatabaseProxy;
let survivor: Service;
let doctorId: string;

beforeAll(async () => {
  server = await startServer();
  folder = await mkdtemp(join(tmpdir(), 'amrutam-crash-'));
  proxy = await startDatabaseProxy(server.url);
  await runCommand('create-keys', { args: [keysFile()] });
  survivor = await startService({ DATABASE_URL: server.url, JWT_KEYS_FILE: keysFile() });
  doctorId = (await person(server, 'DOCTOR')).id;
});

afterAll(async () => {
  endProcesses();
  await survivor?.ended;
  await proxy?.close();
  await server?.stop();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

const keysFile = () => join(folder, 'keys.json');
/** An instance beside the survivor, whose way to the database can be cut. */
const startVictim = () => startService({ DATABASE_URL: proxy.url, JWT_KEYS_FILE: keysFile() });

let hour = 0;

/** A new patient, known to every instance, and what it takes to book a slot of its own. */
async function attempt() {
  const [slot] = await openSlots(server, doctorId, { inMinutes: 60 * ++hour });
  const patient = await signUp(clientsOf(survivor));
  const request = { requestId: randomUUID(), slotId: slot?.id as string, reasonForVisit: 'a cough' };
  const book = (clients: BothClients, protocol: 'grpc' | 'json') =>
    outcomeOf(patient, (options) => clients[protocol].booking.bookSlot(request, options));
  const bookings = async () => (await clientsOf(survivor).grpc.booking.listBookings({}, patient)).bookings;
  return { book, bookings };
}

async function signUp(clients: BothClients) {
  const account = { email: `${randomUUID()}@example.test`, password: PASSWORD, displayName: 'Asha' };
  const { session } = await clients.grpc.auth.signUp({ ...account, role: Role.PATIENT });
  return { headers: { authorization: `Bearer ${session?.accessToken}` } };
}

/** The COMMIT of a booking made at `victim`, stopped on its way, and how the call will end. */
async function stoppedBooking(victim: Service) {
  const { book, bookings } = await attempt();
  const stopped = proxy.nextCommit();
  const call = book(clientsOf(victim), 'grpc');
  return { commit: await stopped, call, book, bookings };
}

test('killed after the commit and before the answer: the retry gets the booking that was made', async () => {
  const victim = await startVictim();
  const { commit, call, book, bookings } = await stoppedBooking(victim);
  await commit.deliver();
  victim.kill('SIGKILL');
  await victim.ended;
  commit.cut();
  expect((await call).answer).toBeUndefined();

  const made = await bookings();
  const retry = await book(clientsOf(survivor), 'json');
  expect(retry).toMatchObject({ reason: 'OK', replayed: true });
  expect(made).toEqual([retry.answer?.booking]);
  expect(await bookings()).toHaveLength(1);
  expect(await brokenInvariants(server)).toEqual({});
});

test('killed between lock and commit: nothing has happened, and the retry books', async () => {
  const victim = await startVictim();
  const { commit, call, book, bookings } = await stoppedBooking(victim);
  victim.kill('SIGKILL');
  await victim.ended;
  commit.cut();
  expect((await call).answer).toBeUndefined();

  expect(await bookings()).toEqual([]);
  expect(await book(clientsOf(survivor), 'json')).toMatchObject({ reason: 'OK', replayed: false });
  expect(await bookings()).toHaveLength(1);
  expect(await brokenInvariants(server)).toEqual({});
});

test('the connection breaks during the commit: OUTCOME_UNKNOWN, and the retry finds out', async () => {
  const service = await startVictim();
  for (const delivered of [true, false]) {
    const { commit, call, book, bookings } = await stoppedBooking(service);
    if (delivered) await commit.deliver();
    commit.cut();
    expect((await call).reason).toBe('OUTCOME_UNKNOWN');
    expect(await book(clientsOf(service), 'json')).toMatchObject({ reason: 'OK', replayed: delivered });
    expect(await bookings()).toHaveLength(1);
  }
  expect(await brokenInvariants(server)).toEqual({});
  service.kill('SIGKILL');
});

test('SIGTERM during calls: they are answered, and it exits with 0', async () => {
  const service = await startVictim();
  const clients = clientsOf(service);
  const calls = [];
  const commits: StoppedCommit[] = [];
  for (const protocol of ['grpc', 'json'] as const) {
    const { book } = await attempt();
    const stopped = proxy.nextCommit();
    calls.push(book(clients, protocol));
    commits.push(await stopped);
  }
  service.kill('SIGTERM');
  await service.wrote('"msg":"stopping"');
  const late = await attempt();
  await sleep(200); // the listeners have closed their doors by now, and the calls still hang
  expect((await late.book(clientsOf(service), 'grpc')).answer).toBeUndefined();
  for (const commit of commits) {
    await commit.deliver();
    commit.release();
  }
  expect((await Promise.all(calls)).map(({ reason }) => reason)).toEqual(['OK', 'OK']);
  expect((await service.ended).code).toBe(0);
  expect(await late.bookings()).toEqual([]);
  expect(await brokenInvariants(server)).toEqual({});
});

test('kill -9 with the embedded database: it ends too, and every acknowledged booking is there after the next start', async () => {
  const dataDir = join(folder, 'data');
  const first = await startService({ DATA_DIR: dataDir });
  const postgres = Number((await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0]);
  const clients = clientsOf(first);
  const { doctors } = await clients.grpc.availability.searchDoctors({});
  const patients = await Promise.all(doctors.slice(0, 4).map(async ({ id }) => ({ id, as: await signUp(clients) })));
  const acknowledged: { readonly id: string; readonly as: (typeof patients)[number]['as'] }[] = [];
  const booking = patients.map(async ({ id, as }, i) => {
    const { slots } = await clients.json.availability.listSlots({ doctorId: id });
    for (const { id: slotId } of slots) {
      const { answer } = await outcomeOf(as, (options) =>
        clients.turn(i).booking.bookSlot({ requestId: randomUUID(), slotId }, options),
      );
      if (!answer?.booking) return;
      acknowledged.push({ id: answer.booking.id, as });
      if (acknowledged.length === 20) first.kill('SIGKILL');
    }
  });
  await Promise.all([first.ended, ...booking]);
  expect(acknowledged.length).toBeGreaterThanOrEqual(20);
  await goneWithin(10_000, postgres);

  const second = await startService({ DATA_DIR: dataDir });
  const { grpc } = clientsOf(second);
  const states = await Promise.all(
    acknowledged.map(async ({ id, as }) => (await grpc.booking.getBooking({ bookingId: id }, as)).booking?.state),
  );
  expect(new Set(states)).toEqual(new Set([BookingState.CONFIRMED]));
  second.kill('SIGTERM');
  expect((await second.ended).code).toBe(0);
});

async function goneWithin(ms: number, pid: number): Promise<void> {
  for (const deadline = Date.now() + ms; ; await sleep(50)) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    if (Date.now() > deadline) throw new Error(`process ${pid} is still there`);
  }
}
