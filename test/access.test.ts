import { randomUUIDv7 as uuid } from 'node:crypto';
import { create, type DescMethodUnary, getOption, type Message, toJson } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { access, Role, RoleSchema } from '../gen/amrutam/access/v1/access_pb.ts';
import { AdminService } from '../gen/amrutam/admin/v1/admin_pb.ts';
import { AuthService } from '../gen/amrutam/auth/v1/auth_pb.ts';
import { AvailabilityService, Weekday } from '../gen/amrutam/availability/v1/availability_pb.ts';
import { sql } from '../src/db/sql.ts';
import { messageCheck } from '../src/rpc/validate.ts';
import { SERVICES } from '../src/server.ts';
import { type Person, person } from './support/people.ts';
import { type Protocol, protocolsOf } from './support/protocols.ts';
import type { Answer } from './support/protocols-answer.ts';
import { type Place, placesIn, requestOf } from './support/protocols-fields.ts';
import { type Appointment, appointment, runSql, type World } from './support/protocols-world.ts';
import { startServer, type TestServer } from './support/server.ts';

const ROLES = ['PATIENT', 'DOCTOR', 'ADMINISTRATOR'] as const;
type RoleName = (typeof ROLES)[number];
const CALLERS = [undefined, ...ROLES];

/** Every method, and the rule that its option states. */
const METHODS = SERVICES.flatMap((service) => service.methods).map((method) => ({
  name: method.name,
  method: method as DescMethodUnary,
  rule: getOption(method, access),
}));
type Ruled = (typeof METHODS)[number];

/** Every field of a request that names a record, beside the request's own name. */
const IDS = METHODS.flatMap((ruled) =>
  placesIn(ruled.method.input)
    .filter(({ field }) => /(^|_)id$/.test(field.name) && field.name !== 'request_id')
    .map((place) => ({ ...ruled, place, path: place.path })),
);

/** An appointment, and what its doctor has beside it. */
interface Records extends Appointment {
  readonly schedule: { readonly id: string };
  readonly exception: { readonly id: string };
}

let server: TestServer;
let protocols: Protocol[];
let world: World;
let somebody: Record<RoleName, Person>;
/** Of people who have nothing to do with anybody who calls, at a doctor who is hidden. */
let foreign: Records;
/** Of the patient who calls. */
let own: Records;

beforeAll(async () => {
  server = await startServer();
  protocols = protocolsOf(server);
  world = { server, protocol: protocols[0] as Protocol };
  const [ADMINISTRATOR, mine, theirs] = await Promise.all([person(server, 'ADMINISTRATOR'), records(), records()]);
  [own, foreign] = [mine, theirs];
  somebody = { PATIENT: own.patient, DOCTOR: own.doctor, ADMINISTRATOR };
  await runSql(server, sql`UPDATE doctor SET state = 'SUSPENDED' WHERE user_id = ${foreign.doctor.id}`);
});

afterAll(async () => {
  for (const protocol of protocols) protocol.close();
  await server.stop();
});

test('each method has exactly one access rule', () => {
  const unclear = METHODS.filter(
    ({ rule }) => Number(rule.public) + Number(rule.signedIn) + Number(rule.roles.length > 0) !== 1,
  );
  expect(unclear.map(({ name }) => name)).toEqual([]);
  expect(METHODS.flatMap(({ rule }) => rule.roles)).not.toContain(0);
});

describe.each(METHODS)('$name', (ruled) => {
  const { method } = ruled;

  test('its rule is applied before anybody looks at the message', async () => {
    for (const role of CALLERS) {
      const refusal = refusalOf(ruled, role);
      if (refusal) {
        expect([role, await asked(method, () => create(method.input), role && somebody[role])]).toEqual([
          role,
          refusal,
        ]);
      } else {
        const caller = role && (await person(server, role));
        const { code, reason } = await world.protocol.call(method, create(method.input), caller);
        if (isValid(create(method.input), method))
          expect([role, reason]).not.toEqual([role, expect.stringMatching(/TOKEN|ROLE/)]);
        else expect([role, code, reason]).toEqual([role, 'INVALID_ARGUMENT', 'FIELD_INVALID']);
      }
    }
  });

  test('a bad token is refused, also where none is needed', async () => {
    const headers = { authorization: `${somebody.PATIENT.headers.authorization}x` };
    expect(await asked(method, () => requestOf(method), { headers })).toBe('UNAUTHENTICATED TOKEN_INVALID');
  });

  test('whoever is suspended or signed out is refused, with a token that still runs', async () => {
    const role = ROLES.find((one) => !refusalOf(ruled, one)) as RoleName;
    const [suspended, revoked] = await Promise.all([person(server, role), person(server, role)]);
    await runSql(server, sql`UPDATE app_user SET state = 'SUSPENDED' WHERE id = ${suspended.id}`);
    await runSql(server, sql`UPDATE session SET revoked_at = now() WHERE id = ${revoked.sessionId}`);
    const before = await stateOfDatabase();
    expect(await asked(method, () => requestOf(method), suspended)).toBe('PERMISSION_DENIED ACCOUNT_SUSPENDED');
    expect(await asked(method, () => requestOf(method), revoked)).toBe('UNAUTHENTICATED SESSION_REVOKED');
    expect(await stateOfDatabase()).toEqual(before);
  });
});

describe.each(IDS)('$name with a $path', (taking) => {
  const { method, place } = taking;

  test('that nobody has', async () => {
    const before = await stateOfDatabase();
    for (const role of CALLERS) {
      const refusal = refusalOf(taking, role);
      await expectNothing(taking, role, { told: refusal ?? /^NOT_FOUND \w+_NOT_FOUND$/, id: () => uuid() });
    }
    expect(await stateOfDatabase()).toEqual(before);
  });

  test('of somebody else, who has nothing to do with the caller', async () => {
    const before = await stateOfDatabase();
    // Administrators may: what they do with it is for other tests.
    for (const role of [undefined, 'PATIENT', 'DOCTOR'] as const) {
      const refusal = refusalOf(taking, role);
      await expectNothing(taking, role, { told: refusal ?? /^NOT_FOUND \w+_NOT_FOUND$/, id: () => foreignId(place) });
    }
    expect(await stateOfDatabase()).toEqual(before);
  });

  test('unknown, of somebody else or of another kind: nobody can tell which from the answer', async () => {
    if (isCondition(place)) return;
    for (const role of ROLES.filter((one) => !refusalOf(taking, one))) {
      const hidden = [
        uuid(),
        uuid(),
        ...idsOfOtherKinds(place),
        ...(role === 'ADMINISTRATOR' ? [] : [foreignId(place)]),
      ];
      for (const protocol of protocols.filter((one) => one.carries(method))) {
        const said = new Set<string>();
        for (const id of hidden) said.add(asBytes(await protocol.call(method, requestWith(id), somebody[role])));
        expect([role, protocol.name, ...said]).toEqual([role, protocol.name, expect.stringContaining('_NOT_FOUND')]);
      }
    }
  });

  /** The other records that the method needs are the caller's own. */
  function requestWith(id: string): Message {
    const message = requestOf(method);
    for (const other of placesIn(method.input)) {
      if (other.field.name === 'booking_id') other.set(message, own.booking.id);
      if (other.field.name === 'purpose') other.set(message, 'a test');
    }
    place.set(message, id);
    return message;
  }

  async function expectNothing(
    { rule }: Ruled,
    role: RoleName | undefined,
    { told, id }: { told: string | RegExp; id: () => string },
  ): Promise<void> {
    const caller = role && somebody[role];
    const request = () => requestWith(id());
    if (isCondition(place) && !refusalOf({ rule } as Ruled, role)) {
      for (const answer of await answers(method, request, caller)) {
        if (answer.code === 'OK')
          expect(JSON.stringify(toJson(method.output, answer.message as Message))).toMatch(NOTHING);
        else expect(outcome(answer)).toMatch(/^NOT_FOUND/);
      }
    } else
      expect([role, await asked(method, request, caller)]).toEqual([
        role,
        told instanceof RegExp ? expect.stringMatching(told) : told,
      ]);
  }
});

describe('what a caller may do comes from the signed token alone', () => {
  const { suspendUser } = AdminService.method;

  test('headers and fields that claim a role change nothing', async () => {
    const headers = {
      ...somebody.PATIENT.headers,
      role: 'ADMINISTRATOR',
      'x-role': 'ADMINISTRATOR',
      'x-user-id': somebody.ADMINISTRATOR.id,
    };
    const request = () => create(suspendUser.input, { userId: foreign.patient.id });
    expect(await asked(suspendUser, request, { headers })).toBe('PERMISSION_DENIED ROLE_REQUIRED');
  });

  test.each([
    ['another role in it', ([head, body, signature]: string[]) => [head, withRole(body), signature]],
    ['no signature', ([, body]: string[]) => [encoded({ alg: 'none', typ: 'at+jwt' }), withRole(body), '']],
    [
      'the signature of another token',
      ([head, body]: string[]) => [head, withRole(body), signatureOf(somebody.ADMINISTRATOR)],
    ],
  ])('a token with %s is refused', async (_what, forge) => {
    const headers = { authorization: `Bearer ${forge(somebody.PATIENT.token.split('.')).join('.')}` };
    const request = () => create(suspendUser.input, { userId: foreign.patient.id });
    expect(await asked(suspendUser, request, { headers })).toBe('UNAUTHENTICATED TOKEN_INVALID');
  });

  test('nobody signs up as an administrator', async () => {
    const { signUp } = AuthService.method;
    const account = {
      email: 'root@example.test',
      password: 'a long password of nobody',
      displayName: 'Root',
      role: Role.ADMINISTRATOR,
    };
    expect(await asked(signUp, () => create(signUp.input, account))).toBe('INVALID_ARGUMENT FIELD_INVALID');
  });
});

/** An empty listing, or an analysis in which nothing happened. */
const NOTHING = /^(\{\}|\{"buckets":.*"totals":\{(?!.*(bookingsMade|displayName)).*)$/;

/** What `role`, or nobody, is told before anything else happens; undefined: let in. */
function refusalOf({ rule }: Pick<Ruled, 'rule'>, role: RoleName | undefined): string | undefined {
  if (rule.public) return undefined;
  if (!role) return 'UNAUTHENTICATED TOKEN_INVALID';
  const allowed = rule.roles.map((number) => RoleSchema.value[number]?.localName);
  return rule.signedIn || allowed.includes(role) ? undefined : 'PERMISSION_DENIED ROLE_REQUIRED';
}

function isValid(message: Message, { input }: DescMethodUnary): boolean {
  try {
    messageCheck()(input, message);
    return true;
  } catch {
    return false;
  }
}

/** Whether the id only narrows a listing. */
function isCondition({ rules }: Place): boolean {
  return rules?.ignore === 1;
}

function foreignId(place: Place): string {
  return idIn(foreign, place);
}

/** Records that the caller may know well, but that are no such thing. */
function idsOfOtherKinds(place: Place): string[] {
  const { doctor, patient, slot, booking, schedule, exception } = own;
  const right = idIn(own, place);
  const users = place.path === 'user_id' ? [] : [doctor.id, patient.id];
  return [...users, slot.id, booking.id, schedule.id, exception.id, patient.sessionId, doctor.sessionId].filter(
    (id) => {
      if (place.path === 'session_id') return ![patient.sessionId, doctor.sessionId].includes(id);
      return id !== right;
    },
  );
}

/** Everything in an answer but what names the call and its time. */
function asBytes({ code, text, details, header, trailer }: Answer): string {
  const rest = [...header, ...trailer].filter(([name]) => !['x-request-id', 'date'].includes(name));
  return JSON.stringify([code, text, details, rest]);
}

async function records(): Promise<Records> {
  const made = await appointment(world);
  const { createSchedule, addException } = AvailabilityService.method;
  const window = { weekday: Weekday.MONDAY, localStart: '09:00', localEnd: '10:00', slotMinutes: 30 };
  const ask = { requestId: uuid(), plan: { windows: [window] } };
  const { message: kept } = await world.protocol.call(createSchedule, ask, made.doctor);
  const date = new Date().toISOString().slice(0, 10);
  const { message: closed } = await world.protocol.call(addException, { requestId: uuid(), date }, made.doctor);
  if (!kept?.schedule || !closed?.exception) throw new Error('no schedule, or no exception');
  return { ...made, schedule: kept.schedule, exception: closed.exception };
}

function idIn({ doctor, patient, slot, booking, schedule, exception }: Records, { path }: Place): string {
  const ids: Record<string, string> = {
    'doctor.id': doctor.id,
    doctor_id: doctor.id,
    patient_id: patient.id,
    user_id: patient.id,
    actor_id: patient.id,
    entity_id: booking.id,
    slot_id: slot.id,
    new_slot_id: slot.id,
    booking_id: booking.id,
    schedule_id: schedule.id,
    exception_id: exception.id,
    session_id: patient.sessionId,
  };
  const id = ids[path];
  if (!id) throw new Error(`whose record is a ${path}?`);
  return id;
}

type Headers = { readonly headers?: Readonly<Record<string, string>> };

function answers(method: DescMethodUnary, message: () => Message, { headers }: Headers = {}): Promise<Answer[]> {
  const able = protocols.filter((one) => one.carries(method));
  return Promise.all(able.map((one) => one.call(method, message(), headers ? { headers } : {})));
}

/** Code and reason over every protocol; one pair if they agree. */
async function asked(method: DescMethodUnary, message: () => Message, caller?: Headers): Promise<string> {
  return [...new Set((await answers(method, message, caller)).map(outcome))].join(' | ');
}

function outcome({ code, reason = '' }: Answer): string {
  return `${code} ${reason}`.trim();
}

/** A digest of each table but those that keep what was asked, and what instances tell each other for a minute. */
async function stateOfDatabase(): Promise<Record<string, string>> {
  const tables = await runSql<{ name: string }>(
    server,
    sql`SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND relname NOT LIKE 'audit_event%' AND relname NOT IN ('idempotency', 'listing_change') ORDER BY relname`,
  );
  const digests = tables.map(async ({ name }) => {
    const table = sql.ref(name);
    const [found] = await runSql<{ digest: string }>(
      server,
      sql`SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) AS digest FROM ${table} t`,
    );
    return [name, found?.digest ?? ''] as const;
  });
  return Object.fromEntries(await Promise.all(digests));
}

function encoded(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function withRole(body = ''): string {
  return encoded({ ...JSON.parse(Buffer.from(body, 'base64url').toString()), role: 'ADMINISTRATOR' });
}

function signatureOf({ token }: Person): string {
  return token.split('.')[2] ?? '';
}
