import { randomUUID } from 'node:crypto';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { CallOptions } from '@connectrpc/connect';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import pg from 'pg';
import { Role } from '../gen/amrutam/access/v1/access_pb.ts';
import { BookingState, SlotAlternativesSchema } from '../gen/amrutam/booking/v1/booking_pb.ts';
import type { Slot } from '../src/availability/slot.entity.ts';
import { brokenInvariants, openSlots, type Person, people, person } from './support/people.ts';
import { type BothClients, type Clients, clientsOf, type Outcome, outcomeOf, tally } from './support/process-client.ts';
import { startServer, type TestServer } from './support/server.ts';

let server: TestServer;
let clients: BothClients;
let doctor: Person;

beforeEach(async () => {
  server = await startServer();
  clients = clientsOf(server);
  doctor = await person(server, 'DOCTOR');
});

afterEach(async () => {
  const broken = await brokenInvariants(server);
  await server.stop();
  expect(broken).toEqual({});
});

type Ask<T> = (via: Clients, as: CallOptions) => Promise<T>;

/** A call, and who makes it. */
interface Attempt<T> {
  readonly by: CallOptions;
  readonly ask: Ask<T>;
}

/** `count` calls at once, every second one through the other listener. */
function crowd<T>(count: number, attempt: (index: number) => Attempt<T>): Promise<Outcome<T>[]> {
  return Promise.all(
    Array.from({ length: count }, (_, i) => {
      const { by, ask } = attempt(i);
      return outcomeOf(by, (as) => ask(clients.turn(i), as));
    }),
  );
}

async function slotsOf(owner: Person, options: Parameters<typeof openSlots>[2] = {}): Promise<[Slot, ...Slot[]]> {
  return (await openSlots(server, owner.id, options)) as [Slot, ...Slot[]];
}

async function book(patient: Person, { id: slotId }: Slot): Promise<string> {
  const { booking } = await clients.grpc.booking.bookSlot({ requestId: randomUUID(), slotId }, patient);
  return booking?.id as string;
}

test('two hundred patients, one slot: one booking, and the rest told so, with other slots to take', async () => {
  const [wanted, ...others] = await slotsOf(doctor, { count: 4 });
  const patients = await people(server, 'PATIENT', 200);
  const requests = patients.map(() => ({ requestId: randomUUID(), slotId: wanted.id }));
  const asked = (who: readonly number[]) =>
    crowd(who.length, (i) => {
      const index = who[i] as number;
      const ask: Ask<unknown> = ({ booking }, as) => booking.bookSlot(requests[index] ?? {}, as);
      return { by: patients[index] as Person, ask };
    });
  // Every call ends within 5 s, its deadline. On a machine that is slower than the crowd some are asked to come again.
  const told = await asked([...requests.keys()]);
  for (let tries = 0; tries < 5 && told.some(again); tries++) {
    const who = [...told.keys()].filter((i) => again(told[i]));
    for (const [i, outcome] of (await asked(who)).entries()) told[who[i] as number] = outcome;
  }
  expect(tally(told)).toEqual({ OK: 1, SLOT_TAKEN: 199 });
  const offered = told
    .filter(({ error }) => error)
    .map(({ error }) => error?.findDetails(SlotAlternativesSchema)[0]?.slots.map(({ id }) => id));
  expect(offered).toEqual(Array(199).fill(others.map(({ id }) => id)));
});

function again(outcome: Outcome<unknown> | undefined): boolean {
  return outcome?.reason === 'CONTENTION';
}

test('one request fifty times at once: one booking, fifty identical answers', async () => {
  const [slot] = await slotsOf(doctor);
  const patient = await person(server, 'PATIENT');
  const request = { requestId: randomUUID(), slotId: slot.id, reasonForVisit: 'a cough' };
  const outcomes = await crowd(50, () => ({ by: patient, ask: ({ booking }, as) => booking.bookSlot(request, as) }));
  expect(tally(outcomes)).toEqual({ OK: 50 });
  expect(outcomes.filter(({ replayed }) => replayed)).toHaveLength(49);
  expect(outcomes.map(({ answer }) => answer)).toEqual(Array(50).fill(outcomes[0]?.answer));
});

test('one request_id for ten slots at once: one booking, never two', async () => {
  const slots = await slotsOf(doctor, { count: 10 });
  const patient = await person(server, 'PATIENT');
  const requestId = randomUUID();
  const outcomes = await crowd(10, (i) => ({
    by: patient,
    ask: ({ booking }, as) => booking.bookSlot({ requestId, slotId: slots[i]?.id ?? '' }, as),
  }));
  const { OK, REQUEST_ID_REUSED = 0, IN_PROGRESS = 0 } = tally(outcomes);
  expect({ OK, refused: REQUEST_ID_REUSED + IN_PROGRESS }).toEqual({ OK: 1, refused: 9 });
});

test('one patient, twenty slots of several doctors at one time: one booking, else PATIENT_BUSY', async () => {
  const doctors = await people(server, 'DOCTOR', 20);
  // They begin at different minutes and overlap all the same.
  const slots = await Promise.all(doctors.map((one, i) => slotsOf(one, { inMinutes: 60 + i, minutes: 30 })));
  const patient = await person(server, 'PATIENT');
  const outcomes = await crowd(20, (i) => ({
    by: patient,
    ask: ({ booking }, as) => booking.bookSlot({ requestId: randomUUID(), slotId: slots[i]?.[0].id ?? '' }, as),
  }));
  expect(tally(outcomes)).toEqual({ OK: 1, PATIENT_BUSY: 19 });
});

test('cancel, reschedule, start, no-show and withdraw at once on one booking: each answer is true, whatever the order', async () => {
  for (let round = 0; round < 12; round++) {
    server.shift(0);
    const [held, free] = (await slotsOf(doctor, { count: 2, inMinutes: 60 + round * 120 })) as [Slot, Slot];
    const patient = await person(server, 'PATIENT');
    const bookingId = await book(patient, held);
    // Odd rounds are played ten minutes before the start, even ones just after it.
    server.shift(held.startAt.getTime() - Date.now() + (round % 2 ? -600_000 : 1_000));
    const ids = () => ({ requestId: randomUUID(), bookingId });
    const calls: readonly Attempt<unknown>[] = [
      { by: patient, ask: (via, as) => via.booking.cancelBooking(ids(), as) },
      { by: doctor, ask: (via, as) => via.booking.cancelBooking(ids(), as) },
      { by: patient, ask: (via, as) => via.booking.rescheduleBooking({ ...ids(), newSlotId: free.id }, as) },
      { by: doctor, ask: (via, as) => via.booking.startConsultation(ids(), as) },
      { by: doctor, ask: (via, as) => via.booking.markNoShow(ids(), as) },
      { by: doctor, ask: (via, as) => via.availability.withdrawSlot({ requestId: randomUUID(), slotId: held.id }, as) },
      { by: doctor, ask: (via, as) => via.availability.withdrawSlot({ requestId: randomUUID(), slotId: free.id }, as) },
    ];
    const turned = calls.map((_, i) => calls[(i + round) % calls.length] as Attempt<unknown>);
    const outcomes = await crowd(calls.length, (i) => turned[i] as Attempt<unknown>);
    const known = new Set([
      'OK',
      'BOOKING_STATE',
      'SLOT_NOT_OPEN',
      'SLOT_NOT_FOUND',
      'SLOT_TAKEN',
      'TOO_LATE',
      'TOO_EARLY',
    ]);
    expect(outcomes.map(({ reason }) => reason).filter((reason) => !known.has(reason))).toEqual([]);
    const [cancelled, cancelledToo, , begun, missed] = calls.map(
      (call) => outcomes[turned.indexOf(call)]?.reason === 'OK',
    );
    expect([cancelled, cancelledToo, begun, missed].filter(Boolean).length).toBeLessThanOrEqual(1);
    const { booking } = await clients.json.booking.getBooking({ bookingId }, patient);
    const ended = cancelled || cancelledToo ? 'CANCELLED' : begun ? 'IN_PROGRESS' : missed ? 'NO_SHOW' : 'CONFIRMED';
    expect(booking?.state).toBe(BookingState[ended]);
    expect(await brokenInvariants(server)).toEqual({});
  }
});

test('cancel against complete: one of them, and the other is told which', async () => {
  for (let round = 0; round < 10; round++) {
    server.shift(0);
    const [slot] = await slotsOf(doctor, { inMinutes: 60 + round * 60 });
    const patient = await person(server, 'PATIENT');
    const bookingId = await book(patient, slot);
    server.shift(slot.startAt.getTime() - Date.now() + 1_000);
    const ids = () => ({ requestId: randomUUID(), bookingId });
    const [started, completed, cancelled] = (await crowd<unknown>(3, (i) => ({
      by: doctor,
      ask: ({ booking }, as) =>
        [booking.startConsultation, booking.completeConsultation, booking.cancelBooking][i]?.(ids(), as) ??
        Promise.reject(),
    }))) as [Outcome<unknown>, Outcome<unknown>, Outcome<unknown>];
    expect(cancelled.reason === 'OK' ? started.reason : cancelled.reason).toBe('BOOKING_STATE');
    if (completed.reason === 'OK') expect(started.reason).toBe('OK');
    const { booking } = await clients.grpc.booking.getBooking({ bookingId }, patient);
    const state = completed.reason === 'OK' ? 'COMPLETED' : started.reason === 'OK' ? 'IN_PROGRESS' : 'CANCELLED';
    expect(booking?.state).toBe(BookingState[state]);
  }
});

test('two patients want to move to each other’s slot, or to the same free one, a hundred times: no deadlock leaves', async () => {
  const slots = await slotsOf(doctor, { count: 3 });
  const patients = await people(server, 'PATIENT', 2);
  const held = [slots[0].id, slots[1]?.id ?? ''];
  const bookings = await Promise.all(patients.map((patient, i) => book(patient, slots[i] as Slot)));
  for (let round = 0; round < 100; round++) {
    const free = slots.find(({ id }) => !held.includes(id))?.id ?? '';
    const wanted = round % 3 ? held.toReversed() : [free, free];
    const outcomes = await crowd(2, (i) => {
      const move = { requestId: randomUUID(), bookingId: bookings[i] ?? '', newSlotId: wanted[i] ?? '' };
      return { by: patients[i] as Person, ask: ({ booking }, as) => booking.rescheduleBooking(move, as) };
    });
    expect(tally(outcomes)).toEqual(round % 3 ? { SLOT_TAKEN: 2 } : { OK: 1, SLOT_TAKEN: 1 });
    for (const [i, { answer }] of outcomes.entries()) held[i] = answer?.booking?.slotId ?? (held[i] as string);
  }
  await server.orm.close(); // what its connections have counted is known when they are gone
  expect(await deadlocks(server.url)).toBe(0);
  await server.orm.connect();
});

/** Deadlocks that the database has had, those included that another try has hidden. */
async function deadlocks(url: string): Promise<number> {
  const client = new pg.Client(url);
  await client.connect();
  const { rows } = await client.query(
    'SELECT deadlocks::int AS count FROM pg_stat_database WHERE datname = current_database()',
  );
  await client.end();
  return rows[0].count;
}

test('opposite batches of one doctor at once: one is published whole, the other refused', async () => {
  for (let round = 0; round < 5; round++) {
    const first = Math.ceil(Date.now() / 60_000 + 60 + round * 1_000) * 60_000;
    const times = Array.from({ length: 50 }, (_, i) => ({
      startTime: timestampFromDate(new Date(first + i * 600_000)),
      endTime: timestampFromDate(new Date(first + (i + 1) * 600_000)),
    }));
    const outcomes = await crowd(2, (i) => ({
      by: doctor,
      ask: ({ availability }, as) =>
        availability.publishSlots({ requestId: randomUUID(), slots: i ? times : times.toReversed() }, as),
    }));
    expect(tally(outcomes)).toEqual({ OK: 1, SLOT_OVERLAP: 1 });
  }
});

test('two instances, one slot and one request: still one booking', async () => {
  const other = await startServer({ databaseUrl: server.url });
  try {
    const instances = [clients, clientsOf(other)];
    const tokens = (one: Person) =>
      Promise.all(
        [server, other].map(async ({ tokens }) => {
          const { token } = await tokens.issue({ userId: one.id, sessionId: one.sessionId, role: 'PATIENT' });
          return { headers: { authorization: `Bearer ${token}` } };
        }),
      );
    const [contested, repeated] = (await slotsOf(doctor, { count: 2 })) as [Slot, Slot];
    const patients = await Promise.all((await people(server, 'PATIENT', 40)).map(tokens));
    const rivals = await Promise.all(
      patients.map((patient, i) =>
        outcomeOf(patient[i % 2] ?? {}, (as) =>
          (instances[i % 2] as BothClients)
            .turn(i >> 1)
            .booking.bookSlot({ requestId: randomUUID(), slotId: contested.id }, as),
        ),
      ),
    );
    expect(tally(rivals)).toEqual({ OK: 1, SLOT_TAKEN: 39 });

    const patient = await tokens(await person(server, 'PATIENT'));
    const request = { requestId: randomUUID(), slotId: repeated.id };
    const repeats = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        outcomeOf(patient[i % 2] ?? {}, (as) =>
          (instances[i % 2] as BothClients).turn(i >> 1).booking.bookSlot(request, as),
        ),
      ),
    );
    expect(tally(repeats)).toEqual({ OK: 40 });
    expect(repeats.map(({ answer }) => answer)).toEqual(Array(40).fill(repeats[0]?.answer));
    expect(repeats.filter(({ replayed }) => !replayed)).toHaveLength(1);
  } finally {
    await other.stop();
  }
});

test('one refresh token twice at once, as two tabs do: both get the same child, and the session lives', async () => {
  const { session } = await clients.grpc.auth.signUp(newAccount());
  let refreshToken = session?.refreshToken ?? '';
  // The first rounds only open connections; the later ones are really at once.
  for (let round = 0; round < 8; round++) {
    const outcomes = await crowd(10, () => ({ by: {}, ask: ({ auth }) => auth.refreshSession({ refreshToken }) }));
    expect(tally(outcomes)).toEqual({ OK: 10 });
    const children = new Set(outcomes.map(({ answer }) => answer?.session?.refreshToken ?? ''));
    expect(children.size).toBe(1);
    [refreshToken = ''] = children;
  }
  expect((await clients.json.auth.refreshSession({ refreshToken })).session?.id).toBe(session?.id);
});

test('two sign-ups with one e-mail address at once: one account', async () => {
  const account = newAccount();
  const outcomes = await crowd(6, (i) => ({
    by: {},
    ask: ({ auth }) => auth.signUp(i % 3 ? account : { ...account, email: account.email.toUpperCase() }),
  }));
  expect(tally(outcomes)).toEqual({ OK: 1, EMAIL_TAKEN: 5 });
});

function newAccount() {
  return {
    email: `${randomUUID()}@example.test`,
    password: 'a long enough secret',
    displayName: 'Asha',
    role: Role.PATIENT,
  };
}
