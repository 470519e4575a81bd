import { randomUUIDv7 as uuid } from 'node:crypto';
import { create, type DescMethodUnary, type Message, type MessageInitShape, toJson } from '@bufbuild/protobuf';
import { BytesValueSchema, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { message } from '../faults/abuse/frames.ts';
import { Role } from '../gen/amrutam/access/v1/access_pb.ts';
import { AdminService } from '../gen/amrutam/admin/v1/admin_pb.ts';
import { AuthService } from '../gen/amrutam/auth/v1/auth_pb.ts';
import { AvailabilityService, SchedulePlanSchema, Weekday } from '../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingService } from '../gen/amrutam/booking/v1/booking_pb.ts';
import type { RoleName } from '../src/caller.ts';
import { sql } from '../src/db/sql.ts';
import type { Reason } from '../src/fault.ts';
import { newMailToken } from '../src/mail/mail-token.ts';
import { CODE } from '../src/rpc/errors.ts';
import { openSlots, type Person, people, person } from './support/people.ts';
import { startDatabaseProxy } from './support/process-proxy.ts';
import { isSideEffectFree, type Protocol, protocolsOf, streams } from './support/protocols.ts';
import type { Answer } from './support/protocols-answer.ts';
import { brokenRequests, CALLABLES, withLoneSurrogate, withValue } from './support/protocols-broken.ts';
import { isText, placesIn, requestOf } from './support/protocols-fields.ts';
import { grpcJsClient, pathOf, unary } from './support/protocols-grpc-js.ts';
import { appointment, begunAgo, book, runSql, signInAgain, type World } from './support/protocols-world.ts';
import { startServer, type TestServer } from './support/server.ts';

/** Calls that are refused, one after the other, each with a message of its own. */
interface Refusable {
  readonly method: DescMethodUnary;
  readonly next: () => { readonly message: Message; readonly headers?: Readonly<Record<string, string>> };
  readonly timeoutMs?: number;
  readonly done?: () => Promise<unknown>;
}

/** How to be refused for a reason, and what the refusal carries beside the reason. */
interface Row {
  readonly code: string;
  readonly ask: () => Promise<Refusable>;
  /** ErrorInfo's metadata; a pattern where the value is a time. */
  readonly metadata?: Readonly<Record<string, string | RegExp>>;
  /** Details beside ErrorInfo, by the last part of their names, with what must be in them. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Protocols that can't carry the request at all. */
  readonly without?: readonly string[];
}

/** Refusals that no call from outside provokes here, and where they are shown instead. */
const ELSEWHERE: Partial<Record<Reason, string>> = {
  DRAINING: 'for streams, and for calls that come too late to an instance that stops: drain.test.ts, closing.test.ts',
};

let server: TestServer;
let protocols: Protocol[];
let world: World;
let somebody: Record<RoleName, Person>;
let locker: pg.Client;
/** The id of a caller who has called too often. */
let limited = 'nobody';

beforeAll(async () => {
  server = await startServer({ takeTurn: async (key) => (key.endsWith(limited) ? 1_500 : 0), mail: undefined });
  protocols = protocolsOf(server);
  world = { server, protocol: protocols[0] as Protocol };
  locker = new pg.Client(server.url);
  await locker.connect();
  const [PATIENT, DOCTOR, ADMINISTRATOR] = await Promise.all([
    person(server, 'PATIENT'),
    person(server, 'DOCTOR'),
    person(server, 'ADMINISTRATOR'),
  ]);
  somebody = { PATIENT, DOCTOR, ADMINISTRATOR };
});

afterAll(async () => {
  for (const protocol of protocols) protocol.close();
  await locker.end();
  await server.stop();
});

const { method: auth } = AuthService;
const { method: availability } = AvailabilityService;
const { method: booking } = BookingService;
const { method: administration } = AdminService;

/** Hours that a schedule may have. */
const MONDAYS = { weekday: Weekday.MONDAY, localStart: '09:00', localEnd: '12:00', slotMinutes: 30 };

const RETRY = (delay: string) => ({ RetryInfo: { retryDelay: delay } });

const TABLE: Partial<Record<Reason, Row>> = {
  FIELD_INVALID: {
    code: 'INVALID_ARGUMENT',
    ask: async () =>
      by(somebody.PATIENT, booking.bookSlot, () => ({
        requestId: 'x',
        slotId: uuid(),
        reasonForVisit: 'y'.repeat(501),
      })),
    details: {
      BadRequest: {
        fieldViolations: [
          { field: 'request_id', reason: 'string.uuid' },
          { field: 'reason_for_visit', reason: 'string.max_len' },
        ],
      },
    },
  },
  RATE_LIMITED: {
    code: 'RESOURCE_EXHAUSTED',
    ask: async () => {
      const caller = await person(server, 'PATIENT');
      limited = caller.id;
      return by(caller, booking.bookSlot, () => ({ requestId: uuid(), slotId: uuid() }));
    },
    metadata: { limit: '60', per: 'account' },
    details: { RetryInfo: { retryDelay: '1.500s' } },
  },
  PAGE_TOKEN_INVALID: {
    code: 'INVALID_ARGUMENT',
    ask: async () => {
      const [one, other] = (await people(server, 'DOCTOR', 2)) as [Person, Person];
      await openSlots(server, one.id, { count: 2 });
      const page = await world.protocol.call(availability.listSlots, { doctorId: one.id, pageSize: 1 });
      const pageToken = page.message?.nextPageToken ?? '';
      return by(undefined, availability.listSlots, () => ({ doctorId: other.id, pageToken }));
    },
  },
  MESSAGE_MALFORMED: {
    code: 'INVALID_ARGUMENT',
    // In binary a text that is no UTF-8, in JSON a string where an object should be.
    ask: async () =>
      by(undefined, { ...availability.getSlot, input: BytesValueSchema }, () => ({ value: Uint8Array.of(0xff, 0xfe) })),
  },
  TOKEN_INVALID: { code: 'UNAUTHENTICATED', ask: async () => by(undefined, auth.getCurrentUser, () => ({})) },
  TOKEN_EXPIRED: {
    code: 'UNAUTHENTICATED',
    ask: async () => {
      const { sessionId, refreshToken } = await signInAgain(world, await person(server, 'PATIENT'));
      await runSql(server, sql`UPDATE session SET idle_expires_at = now() WHERE id = ${sessionId}`);
      return by(undefined, auth.refreshSession, () => ({ refreshToken }));
    },
  },
  CREDENTIALS_INVALID: {
    code: 'UNAUTHENTICATED',
    ask: async () => by(undefined, auth.logIn, () => ({ email: `${uuid()}@example.test`, password: 'wrong' })),
  },
  SESSION_REVOKED: {
    code: 'UNAUTHENTICATED',
    ask: async () => {
      const caller = await person(server, 'PATIENT');
      await runSql(server, sql`UPDATE session SET revoked_at = now() WHERE id = ${caller.sessionId}`);
      return by(caller, booking.bookSlot, () => ({ requestId: uuid(), slotId: uuid() }));
    },
  },
  ROLE_REQUIRED: {
    code: 'PERMISSION_DENIED',
    ask: async () => by(somebody.DOCTOR, booking.bookSlot, () => ({})),
    metadata: { roles: 'ROLE_PATIENT' },
  },
  ACCOUNT_SUSPENDED: {
    code: 'PERMISSION_DENIED',
    ask: async () => {
      const caller = await person(server, 'PATIENT');
      await world.protocol.call(administration.suspendUser, { userId: caller.id }, somebody.ADMINISTRATOR);
      return by(caller, auth.getCurrentUser, () => ({}));
    },
  },
  DOCTOR_NOT_APPROVED: {
    code: 'PERMISSION_DENIED',
    ask: async () => {
      const caller = await person(server, 'DOCTOR');
      await runSql(server, sql`UPDATE doctor SET state = 'PENDING' WHERE user_id = ${caller.id}`);
      return by(caller, availability.publishSlots, () => ({ requestId: uuid(), slots: [timesIn(60)] }));
    },
  },
  SLOT_NOT_FOUND: {
    code: 'NOT_FOUND',
    ask: async () => by(somebody.PATIENT, booking.bookSlot, () => ({ requestId: uuid(), slotId: uuid() })),
  },
  BOOKING_NOT_FOUND: {
    code: 'NOT_FOUND',
    ask: async () => {
      const { booking: theirs } = await appointment(world);
      return by(somebody.PATIENT, booking.cancelBooking, () => ({ requestId: uuid(), bookingId: theirs.id }));
    },
  },
  DOCTOR_NOT_FOUND: {
    code: 'NOT_FOUND',
    ask: async () => by(undefined, availability.getDoctor, () => ({ doctorId: somebody.PATIENT.id })),
  },
  USER_NOT_FOUND: {
    code: 'NOT_FOUND',
    ask: async () => by(somebody.ADMINISTRATOR, administration.suspendUser, () => ({ userId: uuid() })),
  },
  SESSION_NOT_FOUND: {
    code: 'NOT_FOUND',
    ask: async () => by(somebody.PATIENT, auth.revokeSession, () => ({ sessionId: somebody.DOCTOR.sessionId })),
  },
  SCHEDULE_NOT_FOUND: {
    code: 'NOT_FOUND',
    ask: async () =>
      by(somebody.DOCTOR, availability.deleteSchedule, () => ({ requestId: uuid(), scheduleId: uuid() })),
  },
  EXCEPTION_NOT_FOUND: {
    code: 'NOT_FOUND',
    ask: async () =>
      by(somebody.DOCTOR, availability.removeException, () => ({ requestId: uuid(), exceptionId: uuid() })),
  },
  EXCEPTION_EXISTS: {
    code: 'FAILED_PRECONDITION',
    ask: async () => {
      const caller = await person(server, 'DOCTOR');
      const date = new Date().toISOString().slice(0, 10);
      const add = () => ({ requestId: uuid(), date });
      await world.protocol.call(availability.addException, add(), caller);
      return by(caller, availability.addException, add);
    },
    metadata: { exception_id: /^[0-9a-f-]{36}$/ },
  },
  SCHEDULE_LIMIT: {
    code: 'FAILED_PRECONDITION',
    ask: async () => {
      const windows = ([1, 2, 3, 4, 5, 6, 7] as const).map((weekday) => ({
        weekday,
        localStart: '00:00',
        localEnd: '24:00',
        slotMinutes: 5,
      }));
      const plan = { windows, advanceDays: 400 };
      return by(somebody.DOCTOR, availability.createSchedule, () => ({ requestId: uuid(), plan }));
    },
    metadata: { limit: '20000', of: 'slots' },
  },
  EMAIL_TAKEN: {
    code: 'ALREADY_EXISTS',
    ask: async () => {
      const account = { email: somebody.PATIENT.email.toUpperCase(), password: 'seven quiet monsoon evenings' };
      return by(undefined, auth.signUp, () => ({ ...account, displayName: 'A', role: Role.PATIENT }));
    },
  },
  SLOT_TAKEN: {
    code: 'FAILED_PRECONDITION',
    ask: async () => {
      const doctor = await person(server, 'DOCTOR');
      const [slot] = await openSlots(server, doctor.id, { count: 5 });
      const slotId = slot?.id ?? '';
      await book(world, await person(server, 'PATIENT'), slotId);
      return by(await person(server, 'PATIENT'), booking.bookSlot, () => ({ requestId: uuid(), slotId }));
    },
    details: { SlotAlternatives: { slots: Array.from({ length: 3 }, () => ({ state: 'SLOT_STATE_OPEN' })) } },
  },
  SLOT_IN_PAST: {
    code: 'FAILED_PRECONDITION',
    ask: async () => {
      const [slot] = await openSlots(server, (await person(server, 'DOCTOR')).id);
      const slotId = slot?.id ?? '';
      const hours = sql`interval '2 hours'`;
      await runSql(
        server,
        sql`UPDATE slot SET start_at = start_at - ${hours}, end_at = end_at - ${hours} WHERE id = ${slotId}`,
      );
      return by(somebody.PATIENT, booking.bookSlot, () => ({ requestId: uuid(), slotId }));
    },
  },
  SLOT_OVERLAP: {
    code: 'FAILED_PRECONDITION',
    ask: async () =>
      by(await person(server, 'DOCTOR'), availability.publishSlots, () => ({
        requestId: uuid(),
        slots: [timesIn(60), timesIn(75)],
      })),
    metadata: { index: '1' },
  },
  SLOT_NOT_OPEN: {
    code: 'FAILED_PRECONDITION',
    ask: async () => {
      const { doctor, slot } = await appointment(world);
      return by(doctor, availability.withdrawSlot, () => ({ requestId: uuid(), slotId: slot.id }));
    },
    metadata: { state: 'BOOKED' },
  },
  PATIENT_BUSY: {
    code: 'FAILED_PRECONDITION',
    ask: async () => {
      const { patient } = await appointment(world);
      const [slot] = await openSlots(server, (await person(server, 'DOCTOR')).id);
      return by(patient, booking.bookSlot, () => ({ requestId: uuid(), slotId: slot?.id ?? '' }));
    },
  },
  BOOKING_STATE: {
    code: 'FAILED_PRECONDITION',
    ask: async () => {
      const { doctor, booking: made } = await appointment(world);
      return by(doctor, booking.completeConsultation, () => ({ requestId: uuid(), bookingId: made.id }));
    },
    metadata: { state: 'CONFIRMED' },
  },
  REQUEST_ID_REUSED: {
    code: 'FAILED_PRECONDITION',
    ask: async () => {
      const caller = await person(server, 'PATIENT');
      const requestId = uuid();
      await world.protocol.call(booking.bookSlot, { requestId, slotId: uuid() }, caller);
      return by(caller, booking.bookSlot, () => ({ requestId, slotId: uuid() }));
    },
  },
  TOO_EARLY: {
    code: 'FAILED_PRECONDITION',
    ask: async () => {
      const { patient, booking: made } = await appointment(world);
      return by(patient, booking.checkIn, () => ({ requestId: uuid(), bookingId: made.id }));
    },
    metadata: { from: /^\d{4}-\d\d-\d\dT\d\d:\d\d:00\.000Z$/ },
  },
  TOO_LATE: {
    code: 'FAILED_PRECONDITION',
    ask: async () => {
      const made = await appointment(world);
      await begunAgo(world, made, 5);
      return by(made.patient, booking.cancelBooking, () => ({ requestId: uuid(), bookingId: made.booking.id }));
    },
    metadata: { until: /^\d{4}-\d\d-\d\dT\d\d:\d\d:00\.000Z$/ },
  },
  MAIL_TOKEN_INVALID: {
    code: 'FAILED_PRECONDITION',
    ask: async () => by(undefined, auth.verifyEmail, () => ({ token: newMailToken().token })),
  },
  MAIL_OFF: {
    code: 'FAILED_PRECONDITION',
    ask: async () => by(undefined, auth.requestPasswordReset, () => ({ email: `${uuid()}@example.test` })),
  },
  IN_PROGRESS: {
    code: 'ABORTED',
    ask: async () => {
      const callers = await people(server, 'PATIENT', protocols.length);
      const requestId = uuid();
      await locker.query('BEGIN');
      for (const { id } of callers)
        await locker.query(
          `INSERT INTO idempotency (caller_id, method, request_id, fingerprint, created_at) VALUES ($1, 'BookSlot', $2, '', now())`,
          [id, requestId],
        );
      return {
        ...byEach(callers, booking.bookSlot, () => ({ requestId, slotId: uuid() })),
        done: () => locker.query('ROLLBACK'),
      };
    },
    details: RETRY('0.200s'),
  },
  CONTENTION: {
    code: 'ABORTED',
    ask: async () => {
      const callers = await people(server, 'PATIENT', protocols.length);
      const { release } = await locked(callers);
      return { ...byEach(callers, booking.bookSlot, () => ({ requestId: uuid(), slotId: uuid() })), done: release };
    },
    details: RETRY('0.200s'),
  },
  MESSAGE_TOO_LARGE: {
    code: 'RESOURCE_EXHAUSTED',
    ask: async () => by(undefined, availability.getSlot, () => ({ slotId: 'x'.repeat(66_000) })),
    without: ['JSON by fetch, GET'],
  },
  DEADLINE_EXCEEDED: {
    code: 'DEADLINE_EXCEEDED',
    ask: async () => ({
      ...by(undefined, auth.logIn, () => ({ email: `${uuid()}@example.test`, password: 'wrong' })),
      timeoutMs: 1,
    }),
  },
};

/** Reasons that need a database which fails; each has a test below. */
const FAILING: readonly Reason[] = ['OVERLOADED', 'OUTCOME_UNKNOWN', 'DATABASE_DOWN'];

test('every reason is provoked, or said why not', () => {
  const known = [...Object.keys(TABLE), ...FAILING, ...Object.keys(ELSEWHERE)];
  expect(known.sort()).toEqual(Object.keys(CODE).sort());
});

describe.each(Object.entries(TABLE))('%s', (reason, row) => {
  test('is the same refusal over every protocol', async () => {
    const { method, next, timeoutMs, done } = await row.ask();
    const able = protocols.filter((one) => one.carries(method) && !row.without?.includes(one.name));
    const options = timeoutMs === undefined ? {} : { timeoutMs };
    const asked = able.map((protocol) => ({ protocol, ...next() }));
    const answers = await Promise.all(
      asked.map(({ protocol, message, headers = {} }) => protocol.call(method, message, { headers, ...options })),
    ).finally(done);
    const told = sameOf(answers);
    expect([told.code, told.reason]).toEqual([row.code, reason]);
    const [info, ...others] = told.details;
    const { metadata = {}, ...rest } = (info?.value ?? {}) as { metadata?: object };
    expect(rest).toEqual({ reason, domain: 'amrutam' });
    expect(metadata).toEqual(matching(row.metadata ?? {}));
    expect(
      Object.fromEntries(others.map(({ type, value }) => [type.slice(type.lastIndexOf('.') + 1), value])),
    ).toMatchObject(row.details ?? {});
    expect(others.length).toBe(Object.keys(row.details ?? {}).length);

    if (!isKept(method, told)) return;
    const replays = await Promise.all(
      asked.map(({ message, headers = {} }, i) =>
        (able[(i + 1) % able.length] as Protocol).call(method, message, { headers }),
      ),
    );
    expect(sameOf(replays)).toEqual(told);
    expect(replays.map(({ header }) => header.get('idempotency-replayed'))).toEqual(replays.map(() => 'true'));
  });
});

describe('a database that fails', () => {
  test('is told alike over every protocol: no connection free, a commit cut, nobody there', async () => {
    const proxy = await startDatabaseProxy(server.url);
    const other = await startServer({ databaseUrl: proxy.url, pool: 1 });
    const ways = protocolsOf(other);
    try {
      const callers = await people(other, 'PATIENT', ways.length);
      const rename = (i: number) => callers[i] && { headers: callers[i].headers };
      const change = {
        method: auth.updateCurrentUser,
        able: ways.filter((one) => one.carries(auth.updateCurrentUser)),
      };

      const unknown: Answer[] = [];
      for (const [i, way] of change.able.entries()) {
        void proxy.nextCommit().then((commit) => commit.cut());
        unknown.push(await way.call(change.method, { displayName: 'B' }, rename(i)));
      }
      expectUnavailable(unknown, 'OUTCOME_UNKNOWN');

      const commit = proxy.nextCommit();
      const slow = ways[0]?.call(change.method, { displayName: 'C' }, rename(0));
      const stopped = await commit;
      const search = () => ways.map((way) => way.call(availability.searchDoctors, {}));
      expectUnavailable(await Promise.all(search()), 'OVERLOADED');
      await stopped.deliver();
      stopped.release();
      expect((await slow)?.code).toBe('OK');

      await proxy.close();
      expectUnavailable(await Promise.all(search()), 'DATABASE_DOWN');
    } finally {
      for (const way of ways) way.close();
      await proxy.close();
      await other.stop();
    }
  });

  function expectUnavailable(answers: readonly Answer[], reason: Reason): void {
    const { code, details } = sameOf(answers);
    expect([code, details]).toEqual([
      'UNAVAILABLE',
      [
        { type: 'google.rpc.ErrorInfo', value: { reason, domain: 'amrutam' } },
        { type: 'google.rpc.RetryInfo', value: { retryDelay: '0.500s' } },
      ],
    ]);
  }
});

describe('a call that ends before its answer', () => {
  test.each([
    ['its deadline', 'DEADLINE_EXCEEDED', { timeoutMs: 300 }],
    ['its caller', 'CANCELLED', {}],
  ])('by %s stops in the database too, and changes nothing', async (_what, code, options) => {
    const able = protocols.filter((one) => one.carries(booking.bookSlot));
    const callers = await people(server, 'PATIENT', able.length);
    const [doctor] = await people(server, 'DOCTOR', 1);
    const slots = await openSlots(server, doctor?.id ?? '', { count: able.length });
    const { release } = await locked(callers);
    const abort = new AbortController();
    const answers = able.map((one, i) =>
      one.call(
        booking.bookSlot,
        { requestId: uuid(), slotId: slots[i]?.id ?? '' },
        { headers: callers[i]?.headers ?? {}, ...options, ...(code === 'CANCELLED' && { signal: abort.signal }) },
      ),
    );
    setTimeout(() => abort.abort(), 300);
    expect((await Promise.all(answers)).map((answer) => answer.code)).toEqual(able.map(() => code));
    await eventually(async () => expect(await waitingStatements()).toBe(0));
    await release();
    const [left] = await runSql<{ bookings: number; claims: number }>(
      server,
      sql`SELECT (SELECT count(*) FROM booking WHERE doctor_id = ${doctor?.id})::int AS bookings,
            (SELECT count(*) FROM idempotency WHERE caller_id = ANY (${callers.map(({ id }) => id)}))::int AS claims`,
    );
    expect(left).toEqual({ bookings: 0, claims: 0 });
  });
});

describe.each(CALLABLES.map((one) => ({ name: one.method.name, ...one })))('$name', ({ method, role }) => {
  const headers = () => (role ? somebody[role].headers : {});
  const broken = brokenRequests(method);

  if (broken.length > 0) {
    test('with any of its fields broken is refused, over every protocol alike, with the field named', async () => {
      for (const { what, path, message, onlyBinary } of broken) {
        const able = protocols.filter((one) => one.carries(method) && !(onlyBinary && one.format === 'json'));
        const told = sameOf(await Promise.all(able.map((one) => one.call(method, message(), { headers: headers() }))));
        expect([what, told.code, told.reason]).toEqual([what, 'INVALID_ARGUMENT', 'FIELD_INVALID']);
        const { value } = told.details.find(({ type }) => type === 'google.rpc.BadRequest') ?? {};
        const { fieldViolations } = value as { fieldViolations: { field: string }[] };
        expect([what, fieldViolations.map(({ field }) => field)]).toEqual([what, expect.arrayContaining([path])]);
      }
    });
  }

  const texts = placesIn(method.input).filter(isText);
  if (texts.length > 0) {
    test('with half a character in a text is refused, in JSON and in bytes', async () => {
      const client = grpcJsClient(server.grpcPort);
      for (const place of texts) {
        const json = JSON.stringify(toJson(method.input, withValue(method, place, 'a\u{E000}b'))).replace(
          '\u{E000}',
          '\\ud800',
        );
        const bytes = withLoneSurrogate(method, place);
        const overGrpc = await unary(client, method, { bytes, headers: headers() });
        const told = [
          [overGrpc.error?.code, overGrpc.error?.details],
          ...(await Promise.all([
            post(method, { body: json, type: 'application/json', headers: headers() }),
            post(method, { body: Buffer.from(bytes), type: 'application/proto', headers: headers() }),
          ])),
        ];
        expect([place.path, told]).toEqual([
          place.path,
          [
            [3, 'the request is malformed'],
            [400, 'invalid_argument', 'FIELD_INVALID'],
            [400, 'invalid_argument', 'MESSAGE_MALFORMED'],
          ],
        ]);
      }
      client.close();
    });
  }

  test('with bytes or JSON that are no request is refused', async () => {
    const client = grpcJsClient(server.grpcPort);
    // Half a tag; a field that nobody knows and that ends too late; one of a kind that doesn't exist.
    const bytes = [[0xff], [0xa2, 0x06, 0x7f, 0x01], [0xa7, 0x06, 0x00]].map((body) => Buffer.from(body));
    for (const body of bytes) {
      const { error } = await unary(client, method, { bytes: body, headers: headers() });
      expect([error?.code, error?.details]).toEqual([3, 'the request is malformed']);
      expect(await post(method, { body, type: 'application/proto', headers: headers() })).toEqual(MALFORMED);
    }
    const name = method.input.fields[0]?.jsonName;
    const json = ['', '{', '[]', '"x"', '7', 'null', ...(name ? [`{"${name}":[{"a":{}}]}`, `{"${name}":true}`] : [])];
    for (const body of json) {
      const told = await post(method, { body, type: 'application/json', headers: headers() });
      expect([body, told]).toEqual([body, MALFORMED]);
    }
    client.close();
  });

  test('in a form that it does not take is refused', async () => {
    const form = (type: string) => post(method, { body: '{}', type, headers: headers() });
    expect(await form('text/plain')).toEqual([415, 'invalid_argument', 'MESSAGE_MALFORMED']);
    expect(await form('application/grpc')).toEqual([415, 'invalid_argument', 'MESSAGE_MALFORMED']);
    const got = await fetch(`${urlOf(method)}?encoding=json&message=%7B`, { headers: headers() });
    expect(got.status).toBe(isSideEffectFree(method) ? 400 : 405);
    clean(await got.text());
  });
});

const MALFORMED = [400, 'invalid_argument', 'MESSAGE_MALFORMED'];

describe('listings', () => {
  const listings = CALLABLES.filter(({ method }) => method.input.field.pageToken);

  test.each(listings.map((one) => ({ name: one.method.name, ...one })))(
    '$name takes no page token that it has not given',
    async ({ method, role }) => {
      const headers = role ? somebody[role].headers : {};
      for (const pageToken of [
        'rubbish',
        'AAAA',
        'A'.repeat(1000),
        Buffer.from('\x01 12345678["x"]').toString('base64url'),
      ]) {
        const message = () => Object.assign(requestOf(method), { pageToken });
        const told = sameOf(await everywhere(method, message, headers));
        expect([pageToken, told.code, told.reason]).toEqual([pageToken, 'INVALID_ARGUMENT', 'PAGE_TOKEN_INVALID']);
      }
    },
  );

  test.each(listings.map((one) => ({ name: one.method.name, ...one })))(
    '$name takes a page of any size',
    async ({ method, role }) => {
      const headers = role ? somebody[role].headers : {};
      const message = () =>
        Object.assign(requestOf(method), {
          pageSize: 2 ** 31 - 1,
          ...(method.name === 'ListSlots' && { doctorId: somebody.DOCTOR.id }),
          ...(method.name === 'PreviewSchedule' && { plan: create(SchedulePlanSchema, { windows: [MONDAYS] }) }),
        });
      for (const answer of await everywhere(method, message, headers)) expect(answer.code).toBe('OK');
    },
  );
});

test('an update mask takes no path that is not a field', async () => {
  const method = availability.updateDoctorProfile;
  for (const path of ['id', 'state', 'doctor.bio', 'password_hash', "bio' --", 'a\0b']) {
    const message = () => create(method.input, { doctor: {}, updateMask: { paths: [path] } });
    // JSON writes masks in another way, in which not every path can be said.
    const able = protocols.filter(({ format }) => format === 'binary');
    const told = sameOf(await Promise.all(able.map((one) => one.call(method, message(), somebody.DOCTOR))));
    expect([path, told.code, told.reason]).toEqual([path, 'INVALID_ARGUMENT', 'FIELD_INVALID']);
  }
});

test('JSON fields that nobody knows are passed over, as in binary', async () => {
  const body = JSON.stringify({ email: 'x@example.test', role: 'ROLE_ADMINISTRATOR', $typeName: 'x', __proto__x: {} });
  const { headers } = somebody.PATIENT;
  const answer = await fetch(urlOf(auth.getCurrentUser), {
    method: 'POST',
    body,
    headers: { ...headers, 'content-type': 'application/json' },
  });
  expect(await answer.json()).toMatchObject({ user: { id: somebody.PATIENT.id, role: 'ROLE_PATIENT' } });
});

test('methods and services that nobody knows are UNIMPLEMENTED over every protocol', async () => {
  const { getSlot } = availability;
  const strange = [
    { ...getSlot, name: 'GetSlots' },
    { ...getSlot, name: 'getSlot' },
    { ...getSlot, parent: { ...AvailabilityService, typeName: 'amrutam.availability.v2.AvailabilityService' } },
  ];
  for (const method of strange) {
    const answers = await everywhere(method as typeof getSlot, () => create(getSlot.input, { slotId: uuid() }));
    expect([method.name, answers.map(({ code }) => code)]).toEqual([method.name, answers.map(() => 'UNIMPLEMENTED')]);
  }
});

// The last one: everything above has been logged.
test('nothing above was unexpected to the server', () => {
  const unexpected = server.logged.filter((line) => line.includes('"level":50') || line.includes('"code":"INTERNAL"'));
  expect(unexpected).toEqual([]);
});

function by<M extends DescMethodUnary>(
  caller: Person | undefined,
  method: M,
  message: () => MessageInitShape<M['input']>,
): Refusable {
  return {
    method,
    next: () => ({ message: create(method.input, message()), ...(caller && { headers: caller.headers }) }),
  };
}

/** Each call by another one of `callers`. */
function byEach<M extends DescMethodUnary>(
  callers: readonly Person[],
  method: M,
  message: () => MessageInitShape<M['input']>,
): Refusable {
  const left = [...callers];
  return { method, next: () => ({ message: create(method.input, message()), headers: left.pop()?.headers ?? {} }) };
}

/** Holds the accounts of `callers` until it is released. */
async function locked(callers: readonly Person[]): Promise<{ release: () => Promise<unknown> }> {
  await locker.query('BEGIN');
  await locker.query('SELECT FROM app_user WHERE id = ANY ($1) FOR UPDATE', [callers.map(({ id }) => id)]);
  return { release: () => locker.query('ROLLBACK') };
}

async function waitingStatements(): Promise<number> {
  const { rows } = await locker.query(
    `SELECT count(*)::int AS waiting FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  );
  return rows[0].waiting;
}

async function eventually(check: () => Promise<void>, tries = 40): Promise<void> {
  try {
    await check();
  } catch (error) {
    if (tries === 0) throw error;
    await new Promise((resolve) => setTimeout(resolve, 50));
    await eventually(check, tries - 1);
  }
}

function everywhere<M extends DescMethodUnary>(method: M, message: () => Message, headers = {}): Promise<Answer[]> {
  const able = protocols.filter((one) => one.carries(method));
  return Promise.all(able.map((one) => one.call<DescMethodUnary>(method, message(), { headers })));
}

/** What all of `answers` say, headers apart. */
function sameOf(answers: readonly Answer[]): Pick<Answer, 'code' | 'reason' | 'text' | 'details'> {
  const [first, ...others] = answers.map(({ code, reason, text, details, header, trailer }) => {
    clean(JSON.stringify([text, details, [...header], [...trailer]]));
    return { code, reason, text, details };
  });
  for (const other of others) expect(other).toEqual(first);
  if (!first) throw new Error('nobody was asked');
  return first;
}

/** No SQL, no stack, no path, no name of a driver. */
function clean(text: string): void {
  expect(text).not.toContain(process.cwd());
  expect(text).not.toMatch(
    /\bselect\b|insert into|\bwhere\b|relation \\?"|constraint|violates|postgres|pg_|mikro|node_modules|\.[jt]s\b|\bat \S+ \(|\/(src|home|usr|tmp)\//i,
  );
}

function isKept({ input }: DescMethodUnary, { code, reason }: Pick<Answer, 'code' | 'reason'>): boolean {
  const kept = code === 'FAILED_PRECONDITION' || code === 'NOT_FOUND';
  return kept && reason !== 'REQUEST_ID_REUSED' && input.field.requestId !== undefined;
}

function matching(metadata: Readonly<Record<string, string | RegExp>>): object {
  return Object.fromEntries(
    Object.entries(metadata).map(([key, value]) => [
      key,
      value instanceof RegExp ? expect.stringMatching(value) : value,
    ]),
  );
}

function urlOf(method: DescMethodUnary): string {
  return `http://127.0.0.1:${server.httpPort}${pathOf(method)}`;
}

/** Status, code and reason of what is posted as it is. */
async function post(
  method: DescMethodUnary,
  { body, type, headers }: { body: string | Buffer; type: string; headers: Readonly<Record<string, string>> },
): Promise<unknown[]> {
  const framed = streams(method) && /^application\/(json|proto)$/.test(type);
  const response = await fetch(urlOf(method), {
    method: 'POST',
    body: framed ? message(Buffer.from(body)) : body,
    headers: { ...headers, 'content-type': framed ? type.replace('/', '/connect+') : type },
  });
  const text = framed ? lastFrame(Buffer.from(await response.arrayBuffer())) : await response.text();
  clean(text);
  if (framed) {
    // In a stream of Connect the refusal comes last, after status 200.
    const { error } = JSON.parse(text) as { error: { code: string; details?: { debug?: { reason?: string } }[] } };
    return [
      response.status === 200 && error.code === 'invalid_argument' ? 400 : 0,
      error.code,
      error.details?.[0]?.debug?.reason,
    ];
  }
  const { code, details = [] } = JSON.parse(text) as { code: string; details?: { debug?: { reason?: string } }[] };
  return [response.status, code, details[0]?.debug?.reason];
}

/** What Connect says at the end of a stream. */
function lastFrame(bytes: Buffer): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt32BE(at + 1))
    text = bytes.toString('utf8', at + 5, at + 5 + bytes.readUInt32BE(at + 1));
  return text;
}

/** Half an hour, that many minutes from now. */
function timesIn(minutes: number) {
  const start = Math.ceil(Date.now() / 60_000 + minutes) * 60_000;
  return { startTime: timestampFromDate(new Date(start)), endTime: timestampFromDate(new Date(start + 30 * 60_000)) };
}
