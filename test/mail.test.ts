import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { sql } from '../src/db/sql.ts';
import { CERTIFICATE } from '../src/rpc/tls.fixture.ts';
import { query } from './support/calls.ts';
import { eventually } from './support/eventually.ts';
import { type MailServer, startMailServer } from './support/mail-server.ts';
import { readMail } from './support/mails.ts';
import { type Person, person } from './support/people.ts';
import { clientsOf } from './support/process-client.ts';
import { endProcesses, runCommand, type Service, startService } from './support/process-service.ts';
import { startServer, type TestServer } from './support/server.ts';

let server: TestServer; // prepares and looks; the calls go to processes
let mails: MailServer;
let folder: string;
let env: Record<string, string>;

beforeAll(async () => {
  server = await startServer();
  mails = await startMailServer({ login: 'user:hunter2-secret' });
  folder = await mkdtemp(join(tmpdir(), 'amrutam-mail-'));
  const JWT_KEYS_FILE = join(folder, 'keys.json');
  await runCommand('create-keys', { args: [JWT_KEYS_FILE] });
  const SMTP_URL = `smtp://user:hunter2-secret@127.0.0.1:${mails.port}`;
  env = { DATABASE_URL: server.url, JWT_KEYS_FILE, SMTP_URL, MAIL_FROM: 'no-reply@clinic.example' };
});

afterAll(async () => {
  endProcesses();
  await server.stop();
  await mails.stop();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

const arrived = (to: string) => mails.received.filter((mail) => mail.to === to);
const askFor = (service: Service, { email }: Person) => clientsOf(service).grpc.auth.requestPasswordReset({ email });
const stateOf = async ({ id }: Person) =>
  (await query<{ state: string }>(server, sql`SELECT state FROM mail WHERE user_id = ${id}`))[0]?.state;

test('a mail leaves when it is asked for, and neither its address nor its token nor the password is in any output', async () => {
  const service = await startService(env);
  const patient = await person(server, 'PATIENT');
  await askFor(service, patient);
  await eventually(() => arrived(patient.email).length > 0);
  await eventually(async () => (await stateOf(patient)) === 'SENT');
  const { token = '', text } = readMail(arrived(patient.email)[0]?.source ?? '');
  expect(text).not.toContain('http'); // nobody has said where links lead
  const { json } = clientsOf(service);
  await json.auth.resetPassword({ token, newPassword: 'eleven marble canoes, adrift' });
  await json.auth.logIn({ email: patient.email, password: 'eleven marble canoes, adrift' });
  const metrics = await (await fetch(`http://127.0.0.1:${service.metricsPort}/metrics`)).text();
  expect(metrics).toMatch(/^mails_total\{kind="password_reset",result="sent"\} 1$/m);
  expect(metrics).toMatch(/^mails_queued 0$/m);
  service.kill('SIGTERM');
  const { code, output } = await service.ended;
  expect(code).toBe(0);
  expect(output).toContain('a mail was sent');
  for (const secret of [patient.email, token, 'hunter2']) expect(output + metrics).not.toContain(secret);
});

test('killed after the server has taken a mail on and before that is on record: another instance sends the same again, once', async () => {
  const patient = await person(server, 'PATIENT');
  const locker = new pg.Client(server.url);
  await locker.connect();
  mails.behave(async (moment) => {
    // Nothing can be put on record of it from now on.
    if (moment === 'END') await locker.query('BEGIN; SELECT FROM mail FOR UPDATE');
    return undefined;
  });
  const victim = await startService(env);
  await askFor(victim, patient);
  await eventually(() => arrived(patient.email).length > 0);
  await eventually(async () => {
    const waits = sql`SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'UPDATE mail SET state%'`;
    return (await query(server, waits)).length > 0;
  });
  victim.kill('SIGKILL');
  await victim.ended;
  mails.behave(() => undefined);
  await locker.query('ROLLBACK');
  await locker.end();
  expect(await stateOf(patient)).toBe('QUEUED');

  const survivor = await startService(env);
  // As if the minute had passed after which it is tried again, and the lease of the victim.
  await query(server, sql`UPDATE mail SET due_at = now() WHERE state = 'QUEUED'`);
  await query(server, sql`UPDATE job SET seen_at = now() - interval '1 minute'`);
  for (const table of ['_private_jobs', '_private_job_queues'])
    await query(
      server,
      sql`UPDATE graphile_worker.${sql.ref(table)} SET locked_at = now() - interval '1 minute' WHERE locked_at IS NOT NULL`,
    );
  await eventually(async () => (await stateOf(patient)) === 'SENT');
  const ids = arrived(patient.email).map(({ source }) => /^Message-ID: (.*)$/m.exec(source)?.[1]);
  expect(ids).toEqual([expect.stringMatching(/^<.*@clinic\.example>$/), ids[0]]);
  survivor.kill('SIGTERM');
  expect((await survivor.ended).code).toBe(0);
}, 120_000);

test('without SMTP_URL a service says that it sends no mail', async () => {
  const { SMTP_URL: _, ...without } = env;
  const service = await startService(without);
  await expect(askFor(service, await person(server, 'PATIENT'))).rejects.toThrow(/sends no mail/);
  service.kill('SIGKILL');
  await service.ended;
});

test('a server whose certificate is of one’s own making is trusted by NODE_EXTRA_CA_CERTS, and not without', async () => {
  const encrypted = await startMailServer({ security: 'tls', certificate: CERTIFICATE, login: 'user:hunter2-secret' });
  const NODE_EXTRA_CA_CERTS = join(folder, 'ca.pem');
  await writeFile(NODE_EXTRA_CA_CERTS, CERTIFICATE.cert);
  const secure = { ...env, SMTP_URL: `smtps://user:hunter2-secret@localhost:${encrypted.port}` };
  const patient = await person(server, 'PATIENT');
  const suspicious = await startService(secure);
  await askFor(suspicious, patient);
  await suspicious.wrote('a mail was not sent: it will be tried again');
  expect(suspicious.output()).toMatch(/certificate/);
  suspicious.kill('SIGTERM');
  await suspicious.ended;
  expect(encrypted.received).toEqual([]);

  const trusting = await startService({ ...secure, NODE_EXTRA_CA_CERTS });
  await askFor(trusting, patient);
  await eventually(() => encrypted.received.length > 0);
  expect(encrypted.received).toMatchObject([{ to: patient.email, encrypted: true, login: 'user:hunter2-secret' }]);
  trusting.kill('SIGTERM');
  await trusting.ended;
  await encrypted.stop();
}, 120_000);
