import { randomUUIDv7 as uuid } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  create,
  createFileRegistry,
  type DescMethodUnary,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Role } from '../gen/amrutam/access/v1/access_pb.ts';
import { AdminService } from '../gen/amrutam/admin/v1/admin_pb.ts';
import { AuthService } from '../gen/amrutam/auth/v1/auth_pb.ts';
import { AvailabilityService, type Weekday, WeekdaySchema } from '../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingService, BookingState } from '../gen/amrutam/booking/v1/booking_pb.ts';
import { ServerReflection, ServerReflectionResponseSchema } from '../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as V1Alpha } from '../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../gen/health/v1/health_pb.ts';
import { sealFigures } from '../src/audit/seal-figures.ts';
import { createSealKeyFile, readSealKeys } from '../src/audit/seal-keys.ts';
import { sealRows } from '../src/audit/seal-rows.ts';
import { sql } from '../src/db/sql.ts';
import { forkFor } from '../src/db/statement.ts';
import { inTransaction } from '../src/db/transaction.ts';
import type { TokenKind } from '../src/mail/mail.entity.ts';
import { SERVICES } from '../src/server.ts';
import { sentToken } from './support/mails.ts';
import { openSlots, type Person, person } from './support/people.ts';
import { isSideEffectFree, type Protocol, protocolsOf } from './support/protocols.ts';
import { isUuid, placesIn } from './support/protocols-fields.ts';
import { asIs, grpcJsClient, pathOf } from './support/protocols-grpc-js.ts';
import { appointment, begunAgo, runSql, signInAgain, type World } from './support/protocols-world.ts';
import { startServer, type TestServer } from './support/server.ts';

const PASSWORD = 'seven quiet monsoon evenings';
const DAY = {
  from: timestampFromDate(new Date('2026-01-01T00:00Z')),
  until: timestampFromDate(new Date('2026-01-02T00:00Z')),
};

/** One call that succeeds: what it says, and who says it. */
interface Ask {
  readonly message: Message;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** How to succeed with a method, and what the answer then is, as far as it isn't ids and times. */
interface Row {
  readonly method: DescMethodUnary;
  readonly ask: () => Promise<Ask>;
  readonly answer: JsonValue;
}

let server: TestServer;
let folder: string;
let auditKeysFile: string;
let protocols: Protocol[];
let world: World;
let admin: Person;
/** Somebody with a password. */
let member: Person & { readonly hash: string };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'amrutam-every-'));
  auditKeysFile = join(folder, 'audit-keys.json');
  await createSealKeyFile(auditKeysFile);
  server = await startServer({ auditKeysFile });
  protocols = protocolsOf(server);
  world = { server, protocol: protocols[0] as Protocol };
  [admin, member] = await Promise.all([person(server, 'ADMINISTRATOR'), withPassword()]);
});

afterAll(async () => {
  for (const protocol of protocols) protocol.close();
  await server.stop();
  await rm(folder, { recursive: true });
});

const { method: auth } = AuthService;
const { method: availability } = AvailabilityService;
const { method: booking } = BookingService;
const { method: administration } = AdminService;

const USER = { displayName: 'A patient', role: 'ROLE_PATIENT', state: 'USER_STATE_ACTIVE', timeZone: 'UTC' };
const DOCTOR = { displayName: 'A doctor', timeZone: 'UTC', state: 'DOCTOR_STATE_ACTIVE' };
const BOOKING = { doctorDisplayName: 'A doctor', patientDisplayName: 'A patient', reasonForVisit: 'a rash' };

const BOOKED = {
  action: 'BookSlot',
  outcome: 'AUDIT_OUTCOME_DONE',
  actorRole: 'ROLE_PATIENT',
  entityType: 'booking',
};

/** The date so many days from today, in UTC. */
const daysAhead = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
/** Two slots a week, on the day after tomorrow. */
const PLAN = {
  timeZone: 'utc',
  windows: [
    {
      weekday: (((new Date(`${daysAhead(2)}T00:00Z`).getUTCDay() + 6) % 7) + 1) as Weekday,
      localStart: '09:00',
      localEnd: '10:00',
      slotMinutes: 25,
      breakMinutes: 5,
    },
  ],
  fromDate: daysAhead(1),
  advanceDays: 7,
};
const KEPT_PLAN = {
  ...PLAN,
  timeZone: 'UTC',
  windows: PLAN.windows.map((window) => ({ ...window, weekday: WeekdaySchema.value[window.weekday]?.name ?? '' })),
};

const TABLE: readonly Row[] = [
  row(
    auth.signUp,
    async () => ({
      email: newEmail(),
      password: PASSWORD,
      displayName: ' Asha ',
      role: Role.PATIENT,
      timeZone: 'asia/kolkata',
    }),
    {
      session: { user: { ...USER, displayName: 'Asha', timeZone: 'Asia/Kolkata' } },
    },
  ),
  row(auth.logIn, async () => ({ email: member.email.toUpperCase(), password: PASSWORD }), { session: { user: USER } }),
  row(auth.refreshSession, async () => ({ refreshToken: (await signInAgain(world, member)).refreshToken }), {
    session: { user: USER },
  }),
  row(
    auth.logOut,
    by('PATIENT', async () => ({})),
    {},
  ),
  row(
    auth.getCurrentUser,
    by(
      () => member,
      async () => ({}),
    ),
    { user: USER },
  ),
  row(
    auth.updateCurrentUser,
    by('PATIENT', async () => ({ displayName: 'Ravi', timeZone: 'Europe/Paris' })),
    {
      user: { ...USER, displayName: 'Ravi', timeZone: 'Europe/Paris' },
    },
  ),
  row(
    auth.listSessions,
    by('PATIENT', async () => ({})),
    { sessions: [{ userAgent: 'test', clientAddress: '127.0.0.1', current: true }] },
  ),
  row(
    auth.revokeSession,
    by('PATIENT', async (caller) => ({ sessionId: (await signInAgain(world, caller)).sessionId })),
    {},
  ),
  row(
    auth.changePassword,
    by(withPassword, async () => ({ currentPassword: PASSWORD, newPassword: `${PASSWORD}, again` })),
    {},
  ),
  row(
    auth.requestEmailVerification,
    by('PATIENT', async () => ({})),
    {},
  ),
  row(auth.verifyEmail, async () => ({ token: await newToken('VERIFICATION') }), {}),
  row(auth.requestPasswordReset, async () => ({ email: (await person(server, 'PATIENT')).email }), {}),
  row(
    auth.resetPassword,
    async () => ({ token: await newToken('PASSWORD_RESET'), newPassword: `${PASSWORD}, again` }),
    {},
  ),

  row(availability.getDoctor, async () => ({ doctorId: (await person(server, 'DOCTOR')).id }), { doctor: DOCTOR }),
  row(
    availability.searchDoctors,
    async () => {
      const specialty = uuid();
      const { id } = await person(server, 'DOCTOR');
      await runSql(server, sql`UPDATE doctor SET specialty_keys = ARRAY[${specialty}] WHERE user_id = ${id}`);
      return { specialty };
    },
    { doctors: [DOCTOR] },
  ),
  row(
    availability.updateDoctorProfile,
    by('DOCTOR', async ({ id }) => ({
      doctor: { id, specialties: ['Skin'], bio: 'Twelve years.' },
      updateMask: { paths: ['specialties', 'bio'] },
    })),
    {
      doctor: { ...DOCTOR, specialties: ['Skin'], bio: 'Twelve years.' },
    },
  ),
  row(
    availability.publishSlots,
    by('DOCTOR', async () => ({ requestId: uuid(), slots: [timesIn(60), timesIn(90)] })),
    {
      slots: [{ state: 'SLOT_STATE_OPEN' }, { state: 'SLOT_STATE_OPEN' }],
    },
  ),
  row(
    availability.withdrawSlot,
    by('DOCTOR', async ({ id }) => ({ requestId: uuid(), slotId: await openSlot(id) })),
    {
      slot: { state: 'SLOT_STATE_WITHDRAWN' },
    },
  ),
  row(availability.getSlot, async () => ({ slotId: await openSlot((await person(server, 'DOCTOR')).id) }), {
    slot: { state: 'SLOT_STATE_OPEN' },
  }),
  row(
    availability.listSlots,
    by('DOCTOR', async ({ id }) => {
      await openSlots(server, id, { count: 3 });
      return { doctorId: id, pageSize: 2 };
    }),
    { slots: [{ state: 'SLOT_STATE_OPEN' }, { state: 'SLOT_STATE_OPEN' }] },
  ),

  row(
    availability.createSchedule,
    by('DOCTOR', async () => ({ requestId: uuid(), plan: PLAN })),
    { schedule: { plan: KEPT_PLAN }, changes: { made: 2 } },
  ),
  row(
    availability.updateSchedule,
    by('DOCTOR', async (caller) => ({
      requestId: uuid(),
      scheduleId: await schedule(caller),
      plan: { advanceDays: 14 },
      updateMask: { paths: ['advance_days'] },
    })),
    { schedule: { plan: { ...KEPT_PLAN, advanceDays: 14 } }, changes: { made: 2 } },
  ),
  row(
    availability.deleteSchedule,
    by('DOCTOR', async (caller) => ({ requestId: uuid(), scheduleId: await schedule(caller) })),
    { changes: { withdrawn: 2 } },
  ),
  row(
    availability.getSchedule,
    by('DOCTOR', async (caller) => ({ scheduleId: await schedule(caller) })),
    { schedule: { plan: KEPT_PLAN } },
  ),
  row(
    availability.listSchedules,
    by('DOCTOR', async (caller) => {
      await schedule(caller);
      return {};
    }),
    { schedules: [{ plan: KEPT_PLAN }] },
  ),
  row(
    availability.previewSchedule,
    by('DOCTOR', async (caller) => ({
      scheduleId: await schedule(caller),
      from: timestampFromDate(new Date(`${daysAhead(1)}T00:00Z`)),
      until: timestampFromDate(new Date(`${daysAhead(8)}T00:00Z`)),
    })),
    { slots: [{ outcome: 'PREVIEW_OUTCOME_THERE' }, { outcome: 'PREVIEW_OUTCOME_THERE' }] },
  ),
  row(
    availability.addException,
    by('DOCTOR', async (caller) => {
      await schedule(caller);
      return { requestId: uuid(), date: daysAhead(2) };
    }),
    { exception: { date: daysAhead(2) }, changes: { withdrawn: 2 } },
  ),
  row(
    availability.removeException,
    by('DOCTOR', async (caller) => ({ requestId: uuid(), exceptionId: await exception(caller) })),
    { changes: {} },
  ),
  row(
    availability.listExceptions,
    by('DOCTOR', async (caller) => {
      await exception(caller);
      return {};
    }),
    { exceptions: [{ date: daysAhead(2) }] },
  ),

  row(
    booking.bookSlot,
    by('PATIENT', async () => ({
      requestId: uuid(),
      slotId: await openSlot((await person(server, 'DOCTOR')).id),
      reasonForVisit: 'a rash',
    })),
    {
      booking: { ...BOOKING, state: 'BOOKING_STATE_CONFIRMED' },
    },
  ),
  row(
    booking.getBooking,
    async () => {
      const { patient, booking } = await appointment(world);
      return [{ bookingId: booking.id }, patient];
    },
    { booking: { ...BOOKING, state: 'BOOKING_STATE_CONFIRMED' } },
  ),
  row(booking.listBookings, async () => [{ states: [BookingState.CONFIRMED] }, (await appointment(world)).doctor], {
    bookings: [BOOKING],
  }),
  row(
    booking.cancelBooking,
    async () => {
      const { doctor, booking } = await appointment(world);
      return [{ requestId: uuid(), bookingId: booking.id, reason: 'ill' }, doctor];
    },
    { booking: { ...BOOKING, state: 'BOOKING_STATE_CANCELLED', cancelReason: 'ill', cancelledByRole: 'ROLE_DOCTOR' } },
  ),
  row(
    booking.rescheduleBooking,
    async () => {
      const { doctor, patient, booking } = await appointment(world);
      return [{ requestId: uuid(), bookingId: booking.id, newSlotId: await openSlot(doctor.id, 120) }, patient];
    },
    { booking: { ...BOOKING, state: 'BOOKING_STATE_CONFIRMED' } },
  ),
  row(
    booking.checkIn,
    async () => {
      const { patient, booking } = await appointment(world, 10);
      return [{ requestId: uuid(), bookingId: booking.id }, patient];
    },
    { booking: { ...BOOKING, state: 'BOOKING_STATE_CHECKED_IN' } },
  ),
  row(
    booking.startConsultation,
    async () => {
      const { doctor, booking } = await appointment(world, 10);
      return [{ requestId: uuid(), bookingId: booking.id }, doctor];
    },
    { booking: { ...BOOKING, state: 'BOOKING_STATE_IN_PROGRESS' } },
  ),
  row(
    booking.completeConsultation,
    async () => {
      const { doctor, booking } = await appointment(world, 10);
      await runSql(server, sql`UPDATE booking SET state = 'IN_PROGRESS' WHERE id = ${booking.id}`);
      return [{ requestId: uuid(), bookingId: booking.id }, doctor];
    },
    { booking: { ...BOOKING, state: 'BOOKING_STATE_COMPLETED' } },
  ),
  row(
    booking.markNoShow,
    async () => {
      const made = await appointment(world);
      await begunAgo(world, made, 5);
      return [{ requestId: uuid(), bookingId: made.booking.id }, made.doctor];
    },
    { booking: { ...BOOKING, state: 'BOOKING_STATE_NO_SHOW' } },
  ),

  row(
    administration.getAnalytics,
    by(
      () => admin,
      async () => ({ ...DAY, timeZone: 'Asia/Kolkata' }),
    ),
    {
      buckets: [
        { startTime: '2026-01-01T00:00:00Z' },
        { startTime: '2026-01-01T18:30:00Z', endTime: '2026-01-02T00:00:00Z' },
      ],
      totals: { startTime: '2026-01-01T00:00:00Z', endTime: '2026-01-02T00:00:00Z' },
    },
  ),
  row(
    administration.listUsers,
    by(
      () => admin,
      async () => ({ query: (await person(server, 'DOCTOR')).email }),
    ),
    {
      users: [{ displayName: 'A doctor', role: 'ROLE_DOCTOR', doctorState: 'DOCTOR_STATE_ACTIVE' }],
    },
  ),
  row(
    administration.suspendUser,
    by(
      () => admin,
      async () => ({ userId: (await appointment(world)).patient.id }),
    ),
    {
      user: { ...USER, state: 'USER_STATE_SUSPENDED' },
      upcomingBookings: '1',
    },
  ),
  row(
    administration.reinstateUser,
    by(
      () => admin,
      async () => {
        const { id } = await person(server, 'PATIENT');
        await runSql(server, sql`UPDATE app_user SET state = 'SUSPENDED' WHERE id = ${id}`);
        return { userId: id };
      },
    ),
    { user: USER },
  ),
  row(
    administration.approveDoctor,
    by(
      () => admin,
      async () => {
        const { id } = await person(server, 'DOCTOR');
        await runSql(server, sql`UPDATE doctor SET state = 'PENDING' WHERE user_id = ${id}`);
        return { doctorId: id };
      },
    ),
    { doctor: DOCTOR },
  ),
  row(
    administration.suspendDoctor,
    by(
      () => admin,
      async () => ({ doctorId: (await appointment(world)).doctor.id }),
    ),
    {
      doctor: { ...DOCTOR, state: 'DOCTOR_STATE_SUSPENDED' },
      upcomingBookings: '1',
    },
  ),
  row(
    administration.listAuditEvents,
    by(
      () => admin,
      async () => ({ actorId: (await appointment(world)).patient.id }),
    ),
    { events: [BOOKED] },
  ),
  row(
    administration.verifyAuditLog,
    by(
      () => admin,
      async () => {
        await sealed();
        return { firstSeal: 1, maxSeals: 1 };
      },
    ),
    { firstSeal: 1, lastSeal: 1, nextSeal: 2 },
  ),
  row(
    administration.exportAuditEvents as unknown as DescMethodUnary,
    by(
      () => admin,
      async () => ({ actorId: (await appointment(world)).patient.id, purpose: 'yearly review' }),
    ),
    { events: [BOOKED] },
  ),
];

test('every method of every service is in the table', () => {
  const all = SERVICES.flatMap(({ methods }) => methods.map((method) => pathOf(method)));
  expect(TABLE.map(({ method }) => pathOf(method)).sort()).toEqual(all.sort());
});

describe.each(TABLE.map((row) => ({ name: row.method.name, ...row })))('$name', ({ method, ask, answer }) => {
  const able = () => protocols.filter((one) => one.carries(method));

  test('is answered alike over every protocol', async () => {
    const told: unknown[] = [];
    for (const protocol of able()) {
      const { message, headers } = await ask();
      const requestId = `call-${uuid()}`;
      const got = await protocol.call(method, message, { headers: { ...headers, 'x-request-id': requestId } });
      expect([protocol.name, got.code, got.reason]).toEqual([protocol.name, 'OK', undefined]);
      expect(got.header.get('x-request-id')).toBe(requestId);
      expect(got.header.get('idempotency-replayed')).toBeNull();
      expect(jsonOf(method, got.message)).toMatchObject(answer as object);
      told.push(withoutIds(jsonOf(method, got.message)));
    }
    for (const one of told) expect(one).toEqual(told[0]);
  });

  if (isRead(method)) {
    test('tells the same to the bit whoever carries it', async () => {
      const { message, headers = {} } = await ask();
      const answers = await Promise.all(able().map((one) => one.call(method, message, { headers })));
      for (const got of answers) expect(bytesOf(method, got.message)).toEqual(bytesOf(method, answers[0]?.message));
    });
  }

  if (placesIn(method.input).some((place) => isUuid(place))) {
    test('takes ids in capital letters for the same ids', async () => {
      const { message, headers = {} } = await ask();
      const got = await world.protocol.call(method, inCapitals(method, message), { headers });
      expect([got.code, got.text]).toEqual(['OK', '']);
      expect(jsonOf(method, got.message)).toMatchObject(answer as object);
    });
  }

  if (method.input.field.requestId) {
    test('repeated over another protocol, gets the first answer, byte for byte, and says so', async () => {
      for (const [i, first] of able().entries()) {
        const { message, headers = {} } = await ask();
        const again = able()[(i + 1) % able().length] as Protocol;
        const made = await first.call(method, message, { headers });
        const replayed = await again.call(method, message, { headers });
        expect([made.code, made.header.get('idempotency-replayed')]).toEqual(['OK', null]);
        expect([replayed.code, replayed.header.get('idempotency-replayed')]).toEqual(['OK', 'true']);
        expect(bytesOf(method, replayed.message)).toEqual(bytesOf(method, made.message));
      }
    });
  }
});

describe('health, by the client of grpc-js', () => {
  test('Check knows the server and each service, and no others', async () => {
    const check = (service: string) => world.protocol.call(Health.method.check, { service });
    for (const service of ['', ...SERVICES.map(({ typeName }) => typeName)])
      expect((await check(service)).message?.status).toBe(Serving.SERVING);
    expect((await check('amrutam.unknown.v1.Service')).code).toBe('NOT_FOUND');
  });

  test('Check is answered over every protocol', async () => {
    for (const protocol of protocols.filter((one) => one.carries(Health.method.check)))
      expect((await protocol.call(Health.method.check, {})).message?.status).toBe(Serving.SERVING);
  });

  test('Watch begins with how things are', async () => {
    const client = grpcJsClient(server.grpcPort);
    const { watch } = Health.method;
    const bytes = Buffer.from(toBinary(watch.input, create(watch.input, { service: BookingService.typeName })));
    const call = client.makeServerStreamRequest(pathOf(watch), asIs, asIs, bytes);
    call.on('error', () => {});
    const [first] = await call.take(1).toArray();
    client.close();
    expect(fromBinary(watch.output, first as Buffer).status).toBe(Serving.SERVING);
  });
});

describe.each([ServerReflection, V1Alpha])(
  'reflection, by the client of grpc-js: $typeName',
  ({ method, typeName }) => {
    const { serverReflectionInfo: info } = method;

    async function ask(messageRequest: MessageInitShape<typeof info.input>['messageRequest']) {
      const client = grpcJsClient(server.grpcPort);
      const call = client.makeBidiStreamRequest(pathOf(info), asIs, asIs);
      const message = create(ServerReflection.method.serverReflectionInfo.input, { messageRequest } as never);
      call.write(Buffer.from(toBinary(ServerReflection.method.serverReflectionInfo.input, message)));
      call.end();
      const [answer] = await call.toArray();
      client.close();
      return fromBinary(ServerReflectionResponseSchema, answer as Buffer).messageResponse;
    }

    test('lists the services', async () => {
      const { value } = await ask({ case: 'listServices', value: '' });
      const names = (value as { service: { name: string }[] }).service.map(({ name }) => name);
      expect(names).toEqual([...SERVICES.map(({ typeName }) => typeName), Health.typeName]);
      expect(typeName).toMatch(/^grpc\.reflection\.v1(alpha)?\.ServerReflection$/);
    });

    test.each(SERVICES.map(({ typeName }) => typeName))(
      'describes %s so that a client needs nothing else',
      async (name) => {
        const { value } = await ask({ case: 'fileContainingSymbol', value: name });
        const file = (value as { fileDescriptorProto: Uint8Array[] }).fileDescriptorProto.map((bytes) =>
          fromBinary(FileDescriptorProtoSchema, bytes),
        );
        const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: inOrder(file) }));
        const known = SERVICES.find(({ typeName }) => typeName === name);
        expect(registry.getService(name)?.methods.map(({ name }) => name)).toEqual(
          known?.methods.map(({ name }) => name),
        );
      },
    );
  },
);

type Asked<M extends DescMethodUnary> = MessageInitShape<M['input']>;

function row<M extends DescMethodUnary>(
  method: M,
  ask: () => Promise<Asked<M> | readonly [Asked<M>, Person]>,
  answer: JsonValue,
): Row {
  return {
    method,
    answer,
    async ask() {
      const asked = await ask();
      const [message, caller] = Array.isArray(asked) ? asked : [asked, undefined];
      return { message: create(method.input, message as Asked<M>), headers: caller?.headers };
    },
  };
}

/** An ask by somebody new with that role, or by somebody in particular. */
function by<T>(
  who: 'PATIENT' | 'DOCTOR' | (() => Person | Promise<Person>),
  ask: (caller: Person) => Promise<T>,
): () => Promise<readonly [T, Person]> {
  return async () => {
    const caller = typeof who === 'string' ? await person(server, who) : await who();
    return [await ask(caller), caller];
  };
}

/** Everything on record is sealed, by the keys that the server knows. */
async function sealed(): Promise<void> {
  const keys = await readSealKeys(auditKeysFile);
  const { signal } = new AbortController();
  while ((await sealFigures(forkFor(server.orm))).unsealed > 0)
    await inTransaction(server.orm, signal, (em) => sealRows(em, keys));
}

function newEmail(): string {
  return `${uuid()}@example.test`;
}

/** Somebody who can log in. Hashing takes time, so all but the first have the first one's hash. */
async function withPassword(): Promise<Person & { hash: string }> {
  const one = await person(server, 'PATIENT');
  const hash = member?.hash ?? (await hashed());
  await runSql(server, sql`UPDATE app_user SET password_hash = ${hash} WHERE id = ${one.id}`);
  return { ...one, hash };
}

async function hashed(): Promise<string> {
  const email = newEmail();
  await world.protocol.call(auth.signUp, { email, password: PASSWORD, displayName: 'A', role: Role.PATIENT });
  const [found] = await runSql<{ hash: string }>(
    server,
    sql`SELECT password_hash AS hash FROM app_user WHERE email = ${email}`,
  );
  return found?.hash as string;
}

/** A token as if it had been sent to somebody. */
async function newToken(kind: TokenKind): Promise<string> {
  return sentToken(server, (await person(server, 'PATIENT')).id, kind);
}

async function openSlot(doctorId: string, inMinutes = 60): Promise<string> {
  const [slot] = await openSlots(server, doctorId, { inMinutes });
  return slot?.id as string;
}

async function schedule(doctor: Person): Promise<string> {
  const { message } = await world.protocol.call(
    availability.createSchedule,
    { requestId: uuid(), plan: PLAN },
    { headers: doctor.headers },
  );
  return message?.schedule?.id as string;
}

async function exception(doctor: Person): Promise<string> {
  const { message } = await world.protocol.call(
    availability.addException,
    { requestId: uuid(), date: daysAhead(2) },
    { headers: doctor.headers },
  );
  return message?.exception?.id as string;
}

/** Half an hour, that many minutes from now. */
function timesIn(minutes: number) {
  const start = Math.ceil(Date.now() / 60_000 + minutes) * 60_000;
  return { startTime: timestampFromDate(new Date(start)), endTime: timestampFromDate(new Date(start + 30 * 60_000)) };
}

function isRead(method: DescMethodUnary): boolean {
  return isSideEffectFree(method) || /^(Get|List|Preview)/.test(method.name);
}

function jsonOf(method: DescMethodUnary, message: MessageShape<DescMethodUnary['output']> | undefined): JsonValue {
  return message ? toJson(method.output, message) : null;
}

function bytesOf(method: DescMethodUnary, message: Message | undefined): string {
  return message ? Buffer.from(toBinary(method.output, message)).toString('hex') : 'none';
}

const ID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;
const VARIES: readonly (readonly [RegExp, string])[] = [
  [ID, '<id>'],
  [/"\d{4}-\d\d-\d\dT[^"]*Z"/g, '"<time>"'],
  [/"accessToken":"[\w.-]+"/g, '"accessToken":"<token>"'],
  [/"refreshToken":"[\w-]{43}"/g, '"refreshToken":"<token>"'],
  [/"nextPageToken":"[\w-]+"/g, '"nextPageToken":"<token>"'],
];

/** The same with a word in the place of what is another one each time. */
function withoutIds(json: JsonValue): unknown {
  return JSON.parse(VARIES.reduce((text, [pattern, word]) => text.replace(pattern, word), JSON.stringify(json)));
}

function inCapitals({ input }: DescMethodUnary, message: Message): Message {
  const json = JSON.stringify(toJson(input, message));
  return fromJson(input, JSON.parse(json.replace(ID, (id) => id.toUpperCase())));
}

/** A registry wants each file after what it imports. */
function inOrder<T extends { name: string; dependency: string[] }>(files: readonly T[]): T[] {
  const ordered = new Set<T>();
  const add = (file: T) => {
    for (const name of file.dependency) {
      const imported = files.find((one) => one.name === name);
      if (imported && !ordered.has(imported)) add(imported);
    }
    ordered.add(file);
  };
  files.forEach(add);
  return [...ordered];
}
