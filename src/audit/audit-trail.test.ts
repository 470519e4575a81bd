import { randomUUIDv7 as uuid } from 'node:crypto';
import { timestampDate, timestampFromDate, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import { AuditOutcome } from '../../gen/amrutam/admin/v1/admin_pb.ts';
import { type Clients, clientsOf, query, reasonOf } from '../../test/support/calls.ts';
import { brokenInvariants, openSlots, type Person, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import type { Slot } from '../availability/slot.entity.ts';
import { sql } from '../db/sql.ts';
import type { AuditEvent } from './audit-event.ts';

const MINUTE = 60_000;
const PASSWORD = 'a violet umbrella, twice';

let server: TestServer;
let clients: Clients;
let admin: Person;
let doctor: Person;
let patient: Person;
let slots: Slot[];

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
  [admin, doctor, patient] = [
    await person(server, 'ADMINISTRATOR'),
    await person(server, 'DOCTOR'),
    await person(server, 'PATIENT'),
  ];
  slots = await openSlots(server, doctor.id, { count: 12, minutes: 10 });
});

afterAll(async () => {
  expect(await brokenInvariants(server)).toEqual({});
  await server.stop();
});

interface Options {
  readonly headers: Record<string, string>;
}

/** The lines that one call has left, found by the id that it carried. */
async function linesOf(call: (options: Options) => Promise<unknown>, who?: Person): Promise<AuditEvent[]> {
  const trace = `trace-${uuid()}`;
  await call({ headers: { ...who?.headers, 'x-request-id': trace } }).catch(() => undefined);
  return query<AuditEvent>(server, sql`SELECT * FROM audit_event WHERE trace_id = ${trace}`);
}

const actor = ({ id, sessionId }: Person, role: string) => ({ actor_id: id, actor_role: role, session_id: sessionId });
const DONE = { outcome: 'DONE', reason: '' };
const refused = (reason: string) => ({ outcome: 'REFUSED', reason, changed_fields: [] });
const slotId = (n: number) => slots[n]?.id as string;

const book = async (n: number) =>
  (await clients.booking.bookSlot({ requestId: uuid(), slotId: slotId(n) }, patient)).booking?.id as string;

describe('each change leaves one line, which says who did what to what', () => {
  test('BookSlot', async () => {
    const requestId = uuid();
    const ask = { requestId, slotId: slotId(0), reasonForVisit: 'a private cough' };
    const [line, ...more] = await linesOf((options) => clients.booking.bookSlot(ask, options), patient);
    const [booking] = await query<{ id: string }>(server, sql`SELECT id FROM booking WHERE slot_id = ${slotId(0)}`);
    expect(more).toEqual([]);
    expect(line).toMatchObject({
      ...actor(patient, 'PATIENT'),
      ...DONE,
      action: 'BookSlot',
      entity_type: 'booking',
      entity_id: booking?.id,
      patient_id: patient.id,
      request_id: requestId,
      client_address: '127.0.0.1',
      instance: 'test',
    });
    expect([...(line?.changed_fields ?? [])].sort()).toEqual(['booking.*', 'slot.state']);
    expect(Math.abs((line?.recorded_at.getTime() ?? 0) - Date.now())).toBeLessThan(60_000);
    expect(JSON.stringify(line)).not.toContain('cough');
  });

  test('the whole life of a booking', async () => {
    const life = { bookingId: await book(1) };
    const start = slots[1]?.startAt.getTime() as number;
    const common = { entity_type: 'booking', entity_id: life.bookingId, patient_id: patient.id, ...DONE };
    const steps = [
      [
        'RescheduleBooking',
        patient,
        'PATIENT',
        -60,
        ['booking.end_at', 'booking.slot_id', 'booking.start_at', 'slot.state'],
      ],
      ['CheckIn', patient, 'PATIENT', 5, ['booking.state']],
      ['StartConsultation', doctor, 'DOCTOR', 12, ['booking.state']],
      ['CompleteConsultation', doctor, 'DOCTOR', 15, ['booking.state']],
    ] as const;
    for (const [action, who, role, minutes, changed] of steps) {
      const requestId = uuid();
      server.shift(start + minutes * MINUTE - Date.now());
      const ask = { ...life, requestId, newSlotId: slotId(2) };
      const method = `${action[0]?.toLowerCase()}${action.slice(1)}` as 'checkIn';
      const lines = await linesOf((options) => clients.booking[method](ask, options), who);
      server.shift(0);
      expect(lines).toMatchObject([{ ...common, ...actor(who, role), action, request_id: requestId }]);
      expect([...(lines[0]?.changed_fields ?? [])].sort()).toEqual(changed);
    }
  });

  test('CancelBooking, by whoever cancels', async () => {
    for (const [n, who, role] of [
      [3, patient, 'PATIENT'],
      [4, doctor, 'DOCTOR'],
      [5, admin, 'ADMINISTRATOR'],
    ] as const) {
      const ask = { requestId: uuid(), bookingId: await book(n), reason: 'a private reason' };
      const lines = await linesOf((options) => clients.booking.cancelBooking(ask, options), who);
      expect(lines).toMatchObject([
        { ...actor(who, role), ...DONE, action: 'CancelBooking', entity_id: ask.bookingId, patient_id: patient.id },
      ]);
      expect([...(lines[0]?.changed_fields ?? [])].sort()).toEqual([
        'booking.cancel_reason',
        'booking.cancelled_by_role',
        'booking.state',
        'slot.state',
      ]);
      expect(JSON.stringify(lines)).not.toContain('private');
    }
  });

  test('MarkNoShow', async () => {
    const bookingId = await book(6);
    server.shift((slots[6]?.startAt.getTime() as number) + MINUTE - Date.now());
    const lines = await linesOf(
      (options) => clients.booking.markNoShow({ requestId: uuid(), bookingId }, options),
      doctor,
    );
    server.shift(0);
    expect(lines).toMatchObject([
      { ...actor(doctor, 'DOCTOR'), ...DONE, action: 'MarkNoShow', changed_fields: ['booking.state'] },
    ]);
  });

  test('PublishSlots and WithdrawSlot', async () => {
    const start = Math.ceil(Date.now() / MINUTE) * MINUTE + 90 * 24 * 60 * MINUTE;
    const times = [0, 30].map((minute) => ({
      startTime: timestampFromMs(start + minute * MINUTE),
      endTime: timestampFromMs(start + (minute + 30) * MINUTE),
    }));
    const ask = { requestId: uuid(), slots: times };
    expect(await linesOf((options) => clients.availability.publishSlots(ask, options), doctor)).toMatchObject([
      {
        ...actor(doctor, 'DOCTOR'),
        ...DONE,
        action: 'PublishSlots',
        entity_type: 'doctor',
        entity_id: doctor.id,
        patient_id: null,
        request_id: ask.requestId,
        changed_fields: ['slot.*'],
      },
    ]);
    const withdraw = { requestId: uuid(), slotId: slotId(7) };
    expect(await linesOf((options) => clients.availability.withdrawSlot(withdraw, options), doctor)).toMatchObject([
      { ...DONE, action: 'WithdrawSlot', entity_type: 'slot', entity_id: slotId(7), changed_fields: ['slot.state'] },
    ]);
  });

  test('what administrators do to accounts and doctors', async () => {
    const [target, suspect] = [await person(server, 'DOCTOR'), await person(server, 'PATIENT')];
    const of = { ...actor(admin, 'ADMINISTRATOR'), ...DONE, request_id: null };
    const [doctorId, userId] = [target.id, suspect.id];
    expect(await linesOf((options) => clients.admin.suspendDoctor({ doctorId }, options), admin)).toMatchObject([
      { ...of, action: 'SuspendDoctor', entity_type: 'doctor', entity_id: doctorId, changed_fields: ['doctor.state'] },
    ]);
    expect(await linesOf((options) => clients.admin.approveDoctor({ doctorId }, options), admin)).toMatchObject([
      { ...of, action: 'ApproveDoctor', entity_type: 'doctor', entity_id: doctorId, changed_fields: ['doctor.state'] },
    ]);
    expect(await linesOf((options) => clients.admin.suspendUser({ userId }, options), admin)).toMatchObject([
      { ...of, action: 'SuspendUser', entity_type: 'user', entity_id: userId, patient_id: userId },
    ]);
    expect(await linesOf((options) => clients.admin.reinstateUser({ userId }, options), admin)).toMatchObject([
      { ...of, action: 'ReinstateUser', entity_type: 'user', entity_id: userId, changed_fields: ['app_user.state'] },
    ]);
  });

  test('signing up and in, changing oneself, signing out', async () => {
    const email = `${uuid()}@example.test`;
    const account = { email, password: PASSWORD, displayName: 'Asha', role: Role.PATIENT } as const;
    const [signedUp] = await linesOf((options) => clients.auth.signUp(account, options));
    const userId = signedUp?.entity_id as string;
    const self = { actor_id: userId, actor_role: 'PATIENT', entity_type: 'user', entity_id: userId };
    expect(signedUp).toMatchObject({ ...self, ...DONE, action: 'SignUp' });
    expect(signedUp?.changed_fields).toContain('app_user.*');
    expect(await linesOf((options) => clients.auth.logIn({ email, password: PASSWORD }, options))).toMatchObject([
      { ...self, ...DONE, action: 'LogIn' },
    ]);

    const { session } = await clients.auth.logIn({ email, password: PASSWORD });
    const me = { headers: { authorization: `Bearer ${session?.accessToken}` } } as Person;
    const mine = { ...self, session_id: session?.id, ...DONE };
    expect(
      await linesOf((options) => clients.auth.updateCurrentUser({ displayName: 'Asha Rao' }, options), me),
    ).toMatchObject([{ ...mine, action: 'UpdateCurrentUser', changed_fields: ['app_user.display_name'] }]);
    const change = { currentPassword: PASSWORD, newPassword: 'another violet umbrella' };
    const [changed, ...more] = await linesOf((options) => clients.auth.changePassword(change, options), me);
    expect([changed, more]).toMatchObject([{ ...mine, action: 'ChangePassword' }, []]);
    expect(changed?.changed_fields).toContain('app_user.password_hash');
    expect(await linesOf((options) => clients.auth.logOut({}, options), me)).toMatchObject([
      {
        ...mine,
        action: 'LogOut',
        entity_type: 'session',
        entity_id: session?.id,
        changed_fields: ['session.revoked_at'],
      },
    ]);
    const all = await query(server, sql`SELECT * FROM audit_event WHERE actor_id = ${userId}`);
    for (const secret of ['umbrella', 'argon2', email, 'Asha']) expect(JSON.stringify(all)).not.toContain(secret);
  });
});

describe('each refusal that is kept leaves one line', () => {
  test.each([
    ['SLOT_NOT_FOUND', () => ({ slotId: uuid() })],
    ['SLOT_TAKEN', () => ({ slotId: slotId(0) })],
  ])('BookSlot, %s', async (reason, ask) => {
    const whole = { requestId: uuid(), ...ask() };
    const lines = await linesOf((options) => clients.booking.bookSlot(whole, options), patient);
    expect(lines).toMatchObject([
      {
        ...actor(patient, 'PATIENT'),
        ...refused(reason),
        entity_type: 'slot',
        entity_id: whole.slotId,
        patient_id: patient.id,
        request_id: whole.requestId,
      },
    ]);
  });

  test('of a booking that isn’t the caller’s, without saying whose it is', async () => {
    const bookingId = await book(8);
    const stranger = await person(server, 'PATIENT');
    const ask = { requestId: uuid(), bookingId };
    expect(await linesOf((options) => clients.booking.cancelBooking(ask, options), stranger)).toMatchObject([
      { ...actor(stranger, 'PATIENT'), ...refused('BOOKING_NOT_FOUND'), entity_id: bookingId, patient_id: null },
    ]);
  });

  test('of a state or a time that forbids it', async () => {
    const bookingId = await book(9);
    for (const [call, who, role, reason] of [
      ['checkIn', patient, 'PATIENT', 'TOO_EARLY'],
      ['completeConsultation', doctor, 'DOCTOR', 'BOOKING_STATE'],
    ] as const)
      expect(
        await linesOf((options) => clients.booking[call]({ requestId: uuid(), bookingId }, options), who),
      ).toMatchObject([{ ...actor(who, role), ...refused(reason), entity_id: bookingId, patient_id: patient.id }]);
  });

  test('an administrator’s change of what doesn’t exist', async () => {
    const userId = uuid();
    expect(await linesOf((options) => clients.admin.suspendUser({ userId }, options), admin)).toMatchObject([
      { ...actor(admin, 'ADMINISTRATOR'), ...refused('USER_NOT_FOUND'), entity_id: userId },
    ]);
  });
});

describe('failed sign-ins', () => {
  test('of a known account are on record; of an unknown address are not', async () => {
    const email = `${uuid()}@example.test`;
    const account = { email, password: PASSWORD, displayName: 'Asha', role: Role.DOCTOR } as const;
    const userId = (await clients.auth.signUp(account)).session?.user?.id;
    const wrong = (address: string) => (options: Options) =>
      clients.auth.logIn({ email: address, password: 'a wrong umbrella' }, options);
    expect(await linesOf(wrong(email))).toMatchObject([
      {
        actor_id: userId,
        actor_role: 'DOCTOR',
        session_id: null,
        action: 'LogIn',
        outcome: 'REFUSED',
        reason: 'CREDENTIALS_INVALID',
        entity_type: 'user',
        entity_id: userId,
      },
    ]);
    expect(await linesOf(wrong(`${uuid()}@example.test`))).toEqual([]);
    await clients.admin.suspendUser({ userId }, admin);
    expect(await linesOf((options) => clients.auth.logIn({ email, password: PASSWORD }, options))).toMatchObject([
      { actor_id: userId, outcome: 'REFUSED', reason: 'ACCOUNT_SUSPENDED' },
    ]);
  });

  test('that had to wait leave no line each: a flood must not fill the log', async () => {
    const email = `${uuid()}@example.test`;
    await clients.auth.signUp({ email, password: PASSWORD, displayName: 'Asha', role: Role.PATIENT });
    await query(
      server,
      sql`UPDATE sign_in_place SET blocked_until = now() + interval '1 hour' WHERE user_id = (SELECT id FROM app_user WHERE email = ${email})`,
    );
    expect(await linesOf((options) => clients.auth.logIn({ email, password: PASSWORD }, options))).toEqual([]);
  });
});

describe('no line is left by', () => {
  test('a repetition', async () => {
    const ask = { requestId: uuid(), slotId: slotId(10) };
    await clients.booking.bookSlot(ask, patient);
    expect(await linesOf((options) => clients.booking.bookSlot(ask, options), patient)).toEqual([]);
  });

  test('a call that was refused before it was one', async () => {
    const calls: [Person | undefined, (options: Options) => Promise<unknown>][] = [
      [undefined, (options) => clients.booking.bookSlot({ requestId: uuid(), slotId: slotId(11) }, options)],
      [patient, (options) => clients.booking.bookSlot({ requestId: 'none', slotId: slotId(11) }, options)],
      [admin, (options) => clients.admin.suspendUser({ userId: admin.id }, options)],
    ];
    for (const [who, call] of calls) expect(await linesOf(call, who)).toEqual([]);
  });

  test('reading what is everybody’s or one’s own', async () => {
    const calls: [Person, (options: Options) => Promise<unknown>][] = [
      [patient, (options) => clients.booking.listBookings({}, options)],
      [patient, (options) => clients.auth.listSessions({}, options)],
      [doctor, (options) => clients.availability.listSlots({ doctorId: doctor.id }, options)],
    ];
    for (const [who, call] of calls) expect(await linesOf(call, who)).toEqual([]);
  });
});

describe('a denial leaves a line, though its answer is not kept', () => {
  const lineOf = async (who: Person, call: (options: Options) => Promise<unknown>) => (await linesOf(call, who))[0];

  test('of a role that may not', async () => {
    const line = await lineOf(doctor, (options) =>
      clients.booking.bookSlot({ requestId: uuid(), slotId: slotId(11) }, options),
    );
    expect(line).toMatchObject({
      action: 'BookSlot',
      outcome: 'REFUSED',
      reason: 'ROLE_REQUIRED',
      actor_id: doctor.id,
    });
  });

  test('of a doctor who is not approved', async () => {
    const pending = await person(server, 'DOCTOR');
    await query(server, sql`UPDATE doctor SET state = 'PENDING' WHERE user_id = ${pending.id}`);
    const startTime = timestampFromDate(new Date(Math.ceil(Date.now() / 3_600_000 + 48) * 3_600_000));
    const endTime = { ...startTime, seconds: startTime.seconds + 1800n };
    const line = await lineOf(pending, (options) =>
      clients.availability.publishSlots({ requestId: uuid(), slots: [{ startTime, endTime }] }, options),
    );
    expect(line).toMatchObject({ action: 'PublishSlots', reason: 'DOCTOR_NOT_APPROVED', entity_id: pending.id });
  });

  test('of a request_id that was used for something else', async () => {
    const requestId = uuid();
    await clients.booking.bookSlot({ requestId, slotId: uuid() }, patient).catch(() => {});
    const line = await lineOf(patient, (options) => clients.booking.bookSlot({ requestId, slotId: uuid() }, options));
    expect(line).toMatchObject({ action: 'BookSlot', reason: 'REQUEST_ID_REUSED', actor_id: patient.id });
  });
});

test('an id of the call that isn’t sane is replaced, and the line has the one that was answered', async () => {
  const userId = (await person(server, 'PATIENT')).id;
  let answered: string | null = null;
  await clients.admin.suspendUser(
    { userId },
    {
      headers: { ...admin.headers, 'x-request-id': 'a b;c' },
      onHeader: (headers) => {
        answered = headers.get('x-request-id');
      },
    },
  );
  const lines = await query<AuditEvent>(
    server,
    sql`SELECT * FROM audit_event WHERE entity_id = ${userId} AND action = 'SuspendUser'`,
  );
  expect(lines).toHaveLength(1);
  expect(lines[0]?.trace_id).toBe(answered);
  expect(answered).not.toContain(';');
});

describe('the list', () => {
  type Ask = Parameters<Clients['admin']['listAuditEvents']>[0];
  const listed = async (ask: Ask) => (await clients.admin.listAuditEvents({ pageSize: 250, ...ask }, admin)).events;
  const rowsOf = async (where: ReturnType<typeof sql>) =>
    (
      await query<{ id: string }>(
        server,
        sql`SELECT id FROM audit_event WHERE ${where} ORDER BY recorded_at DESC, id DESC`,
      )
    ).map(({ id }) => id);

  test('is the whole table, newest first', async () => {
    const events = await listed({});
    expect(events.map(({ id }) => id)).toEqual(await rowsOf(sql`TRUE`));
    expect(events.length).toBeGreaterThan(30);
  });

  test('says everything that is on record', async () => {
    const [event] = await listed({ action: 'BookSlot', entityType: 'booking' });
    expect(event).toMatchObject({
      actorId: patient.id,
      actorRole: Role.PATIENT,
      sessionId: patient.sessionId,
      action: 'BookSlot',
      outcome: AuditOutcome.DONE,
      reason: '',
      patientId: patient.id,
      clientAddress: '127.0.0.1',
      instance: 'test',
    });
    for (const id of [event?.id, event?.entityId, event?.requestId, event?.traceId])
      expect(id).toMatch(/^[\da-f-]{36}$/);
    const [refusal] = await listed({ entityType: 'slot', action: 'BookSlot' });
    expect(refusal).toMatchObject({ outcome: AuditOutcome.REFUSED, changedFields: [] });
  });

  test('keeps to each condition, and to all of them', async () => {
    const bookingId = (await query<{ id: string }>(server, sql`SELECT id FROM booking LIMIT 1`))[0]?.id as string;
    const asked: [Ask, ReturnType<typeof sql>][] = [
      [{ actorId: doctor.id }, sql`actor_id = ${doctor.id}`],
      [{ action: 'CancelBooking' }, sql`action = 'CancelBooking'`],
      [{ entityType: 'session' }, sql`entity_type = 'session'`],
      [{ entityId: bookingId }, sql`entity_id = ${bookingId}`],
      [{ patientId: patient.id }, sql`patient_id = ${patient.id}`],
      [
        { patientId: patient.id, actorId: admin.id, action: 'CancelBooking' },
        sql`patient_id = ${patient.id} AND actor_id = ${admin.id} AND action = 'CancelBooking'`,
      ],
    ];
    for (const [ask, where] of asked) {
      const expected = await rowsOf(where);
      expect(expected.length).toBeGreaterThan(0);
      expect((await listed(ask)).map(({ id }) => id)).toEqual(expected);
    }
    expect(await listed({ actorId: uuid() })).toEqual([]);
    expect(await listed({ action: 'Bookslot' })).toEqual([]);
  });

  test('from a time on, until another, without that one', async () => {
    const events = await listed({});
    const middle = timestampDate(events[20]?.recordTime as NonNullable<(typeof events)[number]['recordTime']>);
    const [from, until] = [{ from: timestampFromDate(middle) }, { until: timestampFromDate(middle) }];
    const [later, earlier] = [await listed(from), await listed(until)];
    expect(later.map(({ id }) => id)).toEqual(await rowsOf(sql`recorded_at >= ${middle}`));
    expect(earlier.map(({ id }) => id)).toEqual(await rowsOf(sql`recorded_at < ${middle}`));
    expect([...later, ...earlier].map(({ id }) => id)).toEqual(events.map(({ id }) => id));
  });

  test('in pages holds everything once, also lines of the same millisecond', async () => {
    await query(
      server,
      sql`INSERT INTO audit_event SELECT gen_random_uuid(), date_trunc('milliseconds', now()) + (n % 3) * interval '1 microsecond', NULL, NULL, NULL,
            'PageTest', 'DONE', '', '', NULL, NULL, NULL, '', '', '', '{}', pg_current_xact_id() FROM generate_series(1, 40) n`,
    );
    const found: string[] = [];
    let pageToken = '';
    do {
      const page = await clients.admin.listAuditEvents({ action: 'PageTest', pageSize: 7, pageToken }, admin);
      found.push(...page.events.map(({ id }) => id));
      ({ nextPageToken: pageToken } = page);
    } while (pageToken);
    expect(found).toEqual(await rowsOf(sql`action = 'PageTest'`));
    expect(found).toHaveLength(40);
  });

  test('has 50 lines a page by default, and a token for its own conditions only', async () => {
    const { events, nextPageToken: pageToken } = await clients.admin.listAuditEvents({}, admin);
    expect(events).toHaveLength(50);
    expect(await reasonOf(listed({ pageToken, action: 'BookSlot' }))).toBe('PAGE_TOKEN_INVALID');
  });

  test('is for administrators', async () => {
    for (const who of [patient, doctor])
      expect(await reasonOf(clients.admin.listAuditEvents({}, who))).toBe('ROLE_REQUIRED');
  });
});
