import { randomUUIDv7 as uuid } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DescMethodUnary, Message, MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Clinic, openClinic } from '../faults/clinic.ts';
import { type Postgres, startPostgres } from '../faults/postgres.ts';
import { Role } from '../gen/amrutam/access/v1/access_pb.ts';
import { AdminService } from '../gen/amrutam/admin/v1/admin_pb.ts';
import { AuthService } from '../gen/amrutam/auth/v1/auth_pb.ts';
import { AvailabilityService } from '../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingService } from '../gen/amrutam/booking/v1/booking_pb.ts';
import { type Kind, markedHeaders, markedRequest } from './support/marked-requests.ts';
import { createMarks } from './support/marks.ts';
import { openSlots, type Person, person } from './support/people.ts';
import { endProcesses, type Service, startService } from './support/process-service.ts';
import { type Protocol, protocolsOf } from './support/protocols.ts';
import type { Answer } from './support/protocols-answer.ts';
import { CALLABLES } from './support/protocols-broken.ts';

// Whatever people write is marked, and looked for wherever it must not be. The tests follow each other on one stage.

/** PostgreSQL writes down every statement, and nothing of the values that are bound to it. */
const LOUD = ['log_statement=all', 'log_min_duration_statement=0', 'shared_preload_libraries=pg_stat_statements'];
const QUIET = ['log_parameter_max_length=0', 'log_parameter_max_length_on_error=0', 'fsync=off'];

const marks = createMarks();
const written: string[] = [];
const leaks: string[] = [];
let folder: string;
let postgres: Postgres;
let clinic: Clinic;
let service: Service;
let protocols: Protocol[];
let patient: Person;
let doctor: Person;
let administrator: Person;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'amrutam-marks-'));
  postgres = await startPostgres(folder, [...LOUD, ...QUIET], (line) => written.push(line));
  clinic = await openClinic({ postgres, root: resolve('.') });
  await postgres.query('CREATE EXTENSION pg_stat_statements', clinic.database);
  service = await clinic.start({ LOG_LEVEL: 'trace', TRUSTED_PROXIES: '127.0.0.1' });
  protocols = protocolsOf(service).filter(({ name }) => /grpc-js|fetch|gRPC-Web/.test(name));
  patient = await person(clinic, 'PATIENT', word('name of the patient'));
  doctor = await person(clinic, 'DOCTOR', word('name of the doctor'));
  administrator = await person(clinic, 'ADMINISTRATOR', word('name of the administrator'));
});

afterAll(async () => {
  for (const protocol of protocols) protocol.close();
  await clinic.close();
  endProcesses();
  await postgres.end();
  await rm(folder, { recursive: true, force: true });
});

/** Milliseconds for a walk over everything, on a machine that has much else to do. */
const LONG_MS = 240_000;
const word = (place: string) => `${marks.at(place)} and more`;
const anybody = { headers: {} };
type Caller = { readonly headers: Readonly<Record<string, string>> };

/** Calls by one protocol, from a browser that says too much, and looks at what comes back. */
async function ask<M extends DescMethodUnary>(
  protocol: Protocol,
  method: M,
  message: MessageInitShape<M['input']>,
  { caller = anybody, timeoutMs }: { caller?: Caller; timeoutMs?: number } = {},
): Promise<Answer<M['output']>> {
  const headers = { ...markedHeaders(marks, method.name), ...caller.headers };
  const answer = await protocol.call(method, message, { headers, ...(timeoutMs && { timeoutMs }) });
  // What was asked for may be answered; what comes around it, and every refusal, says nothing.
  const said = JSON.stringify([answer.text, answer.details, [...answer.header], [...answer.trailer]]);
  const found = marks.in(said);
  if (found.length) leaks.push(`${method.name} over ${protocol.name} answered ${answer.code} with ${found}`);
  return answer;
}

/** By every protocol that can, one after the other. */
async function askAll<M extends DescMethodUnary>(
  method: M,
  request: () => MessageInitShape<M['input']>,
  options: { caller?: Caller; timeoutMs?: number } = {},
): Promise<Answer<M['output']>[]> {
  const answers: Answer<M['output']>[] = [];
  for (const protocol of protocols.filter((one) => one.carries(method)))
    answers.push(await ask(protocol, method, request(), options));
  return answers;
}

test(
  'every method, every text of it marked, valid or not, from every kind of caller: no refusal repeats a word',
  async () => {
    const stranger = { headers: { authorization: `Bearer ${marks.at('a token')}` } };
    const reasons = new Set<string | undefined>();
    for (const { method } of CALLABLES.filter(({ method }) => method.name !== 'LogOut'))
      for (const caller of [anybody, stranger, patient, doctor, administrator])
        for (const kind of ['valid', 'invalid', 'unsound'] satisfies Kind[]) {
          const answers = await askAll(method, () => markedRequest(method, marks, kind) as Message as never, {
            caller,
          });
          for (const { reason } of answers) reasons.add(reason);
        }
    expect(leaks).toEqual([]);
    expect([...reasons]).toEqual(
      expect.arrayContaining([undefined, 'FIELD_INVALID', 'ROLE_REQUIRED', 'TOKEN_INVALID', 'PAGE_TOKEN_INVALID']),
    );
  },
  LONG_MS,
);

test('the story of an account and of a booking: no refusal and no header repeats a word', async () => {
  const reasons: (string | undefined)[] = [];
  const [{ signUp, logIn, refreshSession, updateCurrentUser, changePassword }, { searchDoctors, updateDoctorProfile }] =
    [AuthService.method, AvailabilityService.method];
  const { bookSlot, getBooking, listBookings, rescheduleBooking, cancelBooking } = BookingService.method;
  for (const protocol of protocols.filter((one) => one.carries(signUp))) {
    const tell = async <M extends DescMethodUnary>(
      method: M,
      message: MessageInitShape<M['input']>,
      caller?: Caller,
    ) => {
      const answer = await ask(protocol, method, message, caller && { caller });
      reasons.push(answer.reason);
      return answer.message;
    };
    const email = `${marks.at('email')}@example.test`;
    const [password, next] = [`seven ${marks.at('password')} tractors`, `eleven ${marks.at('next password')} canoes`];
    const account = { email, password, displayName: word('display name'), role: Role.PATIENT };
    const first = (await tell(signUp, account))?.session;
    await tell(signUp, account);
    await tell(logIn, { email, password: next });
    await tell(logIn, { email, password });
    const second = (await tell(refreshSession, { refreshToken: first?.refreshToken ?? '' }))?.session;
    const mine = { headers: { authorization: `Bearer ${second?.accessToken}` } };
    await tell(updateCurrentUser, { displayName: word('next display name') }, mine);
    await tell(changePassword, { currentPassword: next, newPassword: password }, mine);
    await tell(changePassword, { currentPassword: password, newPassword: next }, mine);
    const profile = { bio: word('bio'), specialties: [marks.at('specialty')], languages: [marks.at('language')] };
    await tell(updateDoctorProfile, { doctor: profile }, doctor);
    await tell(searchDoctors, { query: marks.at('query'), specialty: marks.at('specialty asked') });
    await tell(AdminService.method.listUsers, { query: marks.at('query for users') }, administrator);
    const [slot, free] = await openSlots(clinic, doctor.id, { count: 2, inMinutes: 1_000 * (reasons.length + 1) });
    const book = { requestId: uuid(), slotId: slot?.id ?? '', reasonForVisit: word('reason for the visit') };
    const bookingId = (await tell(bookSlot, book, patient))?.booking?.id ?? '';
    await tell(bookSlot, book, patient);
    await tell(bookSlot, { ...book, reasonForVisit: word('another reason') }, patient);
    await tell(bookSlot, { ...book, requestId: uuid(), reasonForVisit: word('reason of one too late') }, mine);
    await tell(getBooking, { bookingId, purpose: word('purpose') }, administrator);
    await tell(listBookings, { purpose: word('purpose of a list') }, administrator);
    await tell(rescheduleBooking, { requestId: uuid(), bookingId, newSlotId: free?.id ?? '' }, patient);
    await tell(cancelBooking, { requestId: uuid(), bookingId, reason: word('reason of the cancellation') }, patient);
    await tell(cancelBooking, { requestId: uuid(), bookingId, reason: word('second reason') }, doctor);
  }
  expect(leaks).toEqual([]);
  expect(reasons).toEqual(
    expect.arrayContaining([
      undefined,
      'EMAIL_TAKEN',
      'CREDENTIALS_INVALID',
      'REQUEST_ID_REUSED',
      'SLOT_TAKEN',
      'BOOKING_STATE',
    ]),
  );
});

test('requests that are no calls, or none that can be read: no answer repeats a word', async () => {
  const base = `http://127.0.0.1:${service.httpPort}`;
  const path = '/amrutam.booking.v1.BookingService/BookSlot';
  const post = (type: string, body: string | Buffer, at = path) =>
    fetch(`${base}${at}`, { method: 'POST', headers: { ...patient.headers, 'content-type': type }, body });
  const say = (place: string) => marks.at(`no call: ${place}`);
  const answers = await Promise.all([
    post('application/json', `{"reasonForVisit": "${say('broken JSON')}`),
    post('application/json', `{"${say('an unknown field')}": "${say('its value')}"}`),
    post('application/json', `{"reasonForVisit": ["${say('a list for a text')}"]}`),
    post('application/json', `{"slotId": {"${say('an object for a text')}": 1}}`),
    post('application/proto', `\xff${say('broken protobuf')}`),
    post('application/grpc-web', `\0\0\0\0\x05${say('a cut message')}`),
    post(`text/${say('a content type')}`, say('its body')),
    post('application/json', '{}', `/amrutam.booking.v1.BookingService/${say('a method')}`),
    fetch(`${base}/${say('a page')}?q=${say('its query')}`, { headers: markedHeaders(marks, 'a page') }),
    fetch(`${base}${path}?encoding=json&connect=v1&message={"reasonForVisit":"${say('a write by GET')}"}`),
    fetch(`${base}/.well-known/jwks.json?q=${say('the key set')}`, { headers: markedHeaders(marks, 'the key set') }),
    fetch(`${base}/readyz?q=${say('readiness')}`, { headers: markedHeaders(marks, 'readiness') }),
  ]);
  for (const answer of answers) {
    const said = JSON.stringify([await answer.text(), ...answer.headers]);
    expect([answer.url.split('?')[0], marks.in(said)]).toEqual([answer.url.split('?')[0], []]);
  }
});

/** A booking by every protocol while something is wrong with the database; the reasons, or codes, it was refused with. */
async function bookWhile(what: string, { timeoutMs }: { timeoutMs?: number } = {}): Promise<string[]> {
  const answers = await askAll(
    BookingService.method.bookSlot,
    () => ({ requestId: uuid(), slotId: slots.shift() ?? '', reasonForVisit: word(`reason while ${what}`) }),
    { caller: patient, ...(timeoutMs && { timeoutMs }) },
  );
  return [...new Set(answers.map(({ reason, code }) => reason ?? code))];
}
let slots: string[] = [];

test(
  'a database that breaks in every way, in the middle of a statement: no refusal repeats a word',
  async () => {
    slots = (await openSlots(clinic, doctor.id, { count: 200, inMinutes: 100_000 })).map(({ id }) => id);
    const run = (text: string) => postgres.query(text, clinic.database);
    const raising = (body: string) =>
      `CREATE OR REPLACE FUNCTION breaks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body}; RETURN NEW; END $$`;

    await run(`ALTER TABLE booking ADD CONSTRAINT broken CHECK (reason_for_visit = '') NOT VALID`);
    expect(await bookWhile('a constraint quotes the row')).toEqual(['INTERNAL']);
    await run('ALTER TABLE booking DROP CONSTRAINT broken');

    await run(raising('PERFORM NEW.reason_for_visit::int'));
    await run('CREATE TRIGGER breaks BEFORE INSERT ON booking FOR EACH ROW EXECUTE FUNCTION breaks()');
    expect(await bookWhile('a cast quotes the value')).toEqual(['INTERNAL']);
    await run(raising(`RAISE EXCEPTION 'what is %?', NEW.reason_for_visit`));
    expect(await bookWhile('a function quotes the value')).toEqual(['INTERNAL']);
    await run('DROP TRIGGER breaks ON booking');

    const holder = new pg.Client(postgres.url(clinic.database));
    holder.on('error', () => {});
    await holder.connect();
    await holder.query('BEGIN');
    await holder.query('LOCK TABLE booking IN ACCESS EXCLUSIVE MODE');
    expect(await bookWhile('the deadline passes', { timeoutMs: 400 })).toEqual(['DEADLINE_EXCEEDED']);
    expect(await bookWhile('a lock is not had')).toEqual(['CONTENTION']);
    const others = `FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    expect(await hurting(() => run(`SELECT pg_cancel_backend(pid) ${others}`), 'a statement is cancelled')).toContain(
      'OVERLOADED',
    );
    expect(await hurting(() => run(`SELECT pg_terminate_backend(pid) ${others}`), 'a backend is ended')).toContain(
      'DATABASE_DOWN',
    );
    expect(await hurting(async () => clinic.proxy.cut(), 'the connection is cut')).toContain('DATABASE_DOWN');
    await holder.end();
    expect(leaks).toEqual([]);
  },
  LONG_MS,
);

/** Books while `hurt` happens again and again. */
async function hurting(hurt: () => Promise<unknown>, what: string): Promise<string[]> {
  let over = false;
  const hurtful = (async () => {
    while (!over) {
      await sleep(150);
      await hurt();
    }
  })();
  const told = await bookWhile(what);
  over = true;
  await hurtful;
  return told;
}

test('what PostgreSQL knows of statements is their text, and no text holds a word that was written', async () => {
  const run = (text: string) => postgres.query(text, clinic.database);
  const texts = await run('SELECT query FROM pg_stat_statements UNION ALL SELECT query FROM pg_stat_activity');
  expect(texts.length).toBeGreaterThan(50);
  expect(texts.flatMap(({ query }) => marks.in(String(query)))).toEqual([]);
});

test('a restart of PostgreSQL in the middle of it all', async () => {
  const booking = bookWhile('PostgreSQL is gone');
  await postgres.stop('immediate');
  await booking;
  await postgres.start();
  let told: string[] = [];
  for (const deadline = Date.now() + 20_000; told.join() !== 'OK' && Date.now() < deadline; await sleep(200))
    told = await bookWhile('PostgreSQL comes back');
  expect(told).toEqual(['OK']);
  expect(leaks).toEqual([]);
});

test("the process' output at its loudest, and PostgreSQL's, hold nothing that anybody wrote", async () => {
  const lines = service.output().split('\n');
  expect(lines.filter((line) => line.includes('"msg":"call"')).length).toBeGreaterThan(1_000);
  expect(lines.filter((line) => line.includes('unexpected error')).length).toBeGreaterThan(3);
  expect(lines.map((line) => [marks.in(line), line]).filter(([found]) => found?.length)).toEqual([]);
  expect(written.filter((line) => /LOG: {2}(execute|duration)/.test(line)).length).toBeGreaterThan(1_000);
  expect(written.map((line) => [marks.in(line), line]).filter(([found]) => found?.length)).toEqual([]);
});

/** Where words are kept, on purpose. */
const KEPT = [
  'app_user.display_name',
  'app_user.email',
  'audit_event.reason',
  'booking.cancel_reason',
  'booking.reason_for_visit',
  'doctor.bio',
  'doctor.language_keys',
  'doctor.languages',
  'doctor.specialties',
  'doctor.specialty_keys',
  'idempotency.answer',
  'session.user_agent',
];

test('words are kept in these columns and nowhere else; the audit trail has the purposes of administrators only', async () => {
  const found = new Map<string, Set<string>>();
  const tables = await postgres.query(
    `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition`,
    clinic.database,
  );
  for (const { name } of tables)
    for (const row of await postgres.query(`SELECT to_jsonb(t) AS row FROM ${name} t`, clinic.database))
      for (const [column, value] of Object.entries(row.row as object)) {
        const places = marks.in(textOf(value));
        const before = found.get(`${name}.${column}`) ?? [];
        if (places.length) found.set(`${name}.${column}`, new Set([...before, ...places]));
      }
  expect([...found.keys()].sort()).toEqual(KEPT);
  for (const place of found.get('audit_event.reason') ?? []) expect(place).toMatch(/purpose/);
  for (const place of found.get('session.user_agent') ?? []) expect(place).toMatch(/user-agent/);
});

/** Bytes as the text they may be. */
function textOf(value: unknown): string {
  const text = JSON.stringify(value);
  return text.startsWith('"\\\\x') ? Buffer.from(text.slice(4, -1), 'hex').toString('latin1') : text;
}

test("beside the embedded database, whose log is nobody's, the output holds nothing either", async () => {
  const embedded = await startService({ DATA_DIR: join(folder, 'embedded'), LOG_LEVEL: 'trace' });
  const clients = protocolsOf(embedded);
  for (const protocol of clients.filter((one) => one.carries(AuthService.method.signUp))) {
    const account = { email: `${marks.at('email')}@example.test`, password: word('password'), role: Role.PATIENT };
    for (let i = 0; i < 2; i += 1)
      await ask(protocol, AuthService.method.signUp, { ...account, displayName: word('display name') });
    await ask(protocol, AvailabilityService.method.searchDoctors, { query: marks.at('query') });
    protocol.close();
  }
  embedded.kill('SIGTERM');
  const { output } = await embedded.ended;
  expect(output).toContain('EMAIL_TAKEN');
  expect(marks.in(output)).toEqual([]);
  expect(leaks).toEqual([]);
});
