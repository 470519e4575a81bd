import { randomUUID } from 'node:crypto';
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { Role } from '../gen/amrutam/access/v1/access_pb.ts';
import { freshDatabase, type TestDatabase } from './support/database.ts';
import { clientsOf, outcomeOf } from './support/process-client.ts';
import { endProcesses, failToStart, runCommand, startService } from './support/process-service.ts';

const PASSWORD = 'correct-horse-battery';

let folder: string;
let database: TestDatabase;
let given: { readonly DATABASE_URL: string; readonly JWT_KEYS_FILE: string };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'amrutam-first-'));
  database = await freshDatabase();
  const keys = join(folder, 'keys.json');
  expect((await runCommand('create-keys', { args: [keys] })).code).toBe(0);
  given = { DATABASE_URL: database.url, JWT_KEYS_FILE: keys };
});

afterAll(async () => {
  endProcesses();
  await database?.drop();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

async function logIn(ports: Parameters<typeof clientsOf>[0], email: string, password = PASSWORD) {
  const { session } = await clientsOf(ports).json.auth.logIn({ email, password });
  return { role: session?.user?.role, headers: { authorization: `Bearer ${session?.accessToken}` } };
}

test('the first start serves a clinic in which people log in and book; the second one still has the booking', async () => {
  const env = { DATA_DIR: join(folder, 'data') };
  const first = await startService(env);
  await first.wrote('is serving');
  const metrics = /metrics, for Prometheus +(http:\S+)/.exec(first.output())?.[1] ?? '';
  expect(await (await fetch(metrics)).text()).toMatch(/^ready 1$/m);
  expect((await logIn(first, 'admin@demo.test')).role).toBe(Role.ADMINISTRATOR);
  expect((await logIn(first, 'doctor@demo.test')).role).toBe(Role.DOCTOR);
  const patient = await logIn(first, 'patient@demo.test');
  const { availability, booking } = clientsOf(first).grpc;
  const { doctors } = await availability.searchDoctors({ query: 'ananya' });
  const { slots } = await availability.listSlots({ doctorId: doctors[0]?.id ?? '' });
  const request = { requestId: randomUUID(), slotId: slots[0]?.id ?? '' };
  const made = await booking.bookSlot(request, patient);

  const password = 'seven violet tractors';
  const beside = { env, args: ['--email', 'second@example.test'] };
  expect(await runCommand('create-admin', { ...beside, input: 'too short\n' })).toMatchObject({ code: 1 });
  const created = await runCommand('create-admin', { ...beside, input: `${password}\n` });
  expect(created).toMatchObject({ code: 0 });
  expect(created.output).not.toMatch(password);
  expect((await logIn(first, 'second@example.test', password)).role).toBe(Role.ADMINISTRATOR);
  const seeded = await runCommand('seed', { env });
  expect(seeded).toMatchObject({ code: 1 });
  expect(seeded.output).toMatch('nothing was changed');
  first.kill('SIGTERM');
  expect((await first.ended).code).toBe(0);

  const second = await startService(env);
  const { bookings } = await clientsOf(second).json.booking.listBookings({}, await logIn(second, 'patient@demo.test'));
  expect(bookings).toEqual([made.booking]);
  expect((await logIn(second, 'second@example.test', password)).role).toBe(Role.ADMINISTRATOR);
  second.kill('SIGINT');
  expect((await second.ended).code).toBe(0);
});

test('a port that is taken is named, with its variable', async () => {
  const squatter = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => squatter.once('listening', resolve));
  const port = String((squatter.address() as AddressInfo).port);
  for (const name of ['GRPC_PORT', 'HTTP_PORT', 'METRICS_PORT']) {
    const { code, output } = await failToStart({ ...given, [name]: port });
    expect(code).toBe(1);
    expect(output).toMatch(new RegExp(`${name}.*:${port}.*${name}=`));
  }
  squatter.close();
});

test('a variable that makes no sense ends the start with 1 before anything listens', async () => {
  const malformed = { GRPC_PORT: 'http', HOST: 'no such host', JWT_KEYS_FILE: '/nowhere/keys.json' };
  for (const [variable, value] of Object.entries(malformed)) {
    const { code, output } = await failToStart({ ...given, [variable]: value });
    expect({ code, output }).toEqual({ code: 1, output: expect.stringMatching(variable) });
    expect(output).not.toMatch('"msg":"serving"');
  }
});

test('what the environment says wrong stops the start before an embedded database is made', async () => {
  const dataDir = join(folder, 'never');
  const { code } = await failToStart({ DATA_DIR: dataDir, TRUSTED_PROXIES: 'proxy' });
  expect(code).toBe(1);
  await expect(access(dataDir)).rejects.toThrow('ENOENT');
});

test('key and certificate files that hold something else are named', async () => {
  const file = join(folder, 'something-else');
  await writeFile(file, 'something else');
  const keys = await failToStart({ ...given, JWT_KEYS_FILE: file });
  expect(keys).toMatchObject({ code: 1, output: expect.stringMatching(/JWT_KEYS_FILE.*JWK Set/) });
  const tls = await failToStart({ ...given, TLS_CERT_FILE: file, TLS_KEY_FILE: file });
  expect(tls).toMatchObject({ code: 1, output: expect.stringMatching(/TLS_CERT_FILE/) });
});

test('a database that cannot be used is refused with the reason, and without its password', async () => {
  const at = (change: (url: URL) => void) => {
    const url = new URL(database.url);
    url.password = 'the-secret-of-zqxjkv';
    change(url);
    return url.toString();
  };
  const unreachable = at((url) => {
    url.port = '1';
  });
  const withoutPassword = await accepted(at(() => {}));
  for (const [url, why] of [
    [unreachable, 'ECONNREFUSED'],
    [at(() => {}), 'password authentication failed'],
  ] as const) {
    if (url !== unreachable && withoutPassword) continue; // a server that trusts everybody has no wrong password
    for (const { code, output } of [
      await failToStart({ ...given, DATABASE_URL: url }),
      await runCommand('migrate', { env: { DATABASE_URL: url } }),
    ]) {
      expect(code).toBe(1);
      expect(output).toMatch(/DATABASE_URL/);
      expect(output).toMatch(why);
      expect(output).not.toMatch('zqxjkv');
    }
  }
  const { DATABASE_URL } = given;
  const keyless = await failToStart({ DATABASE_URL });
  expect(keyless).toMatchObject({ code: 1, output: expect.stringMatching(/JWT_KEYS_FILE.*npm run create-keys/) });
});

async function accepted(url: string): Promise<boolean> {
  const client = new pg.Client(url);
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end();
  }
}

test('an empty database: the start names the command, two migrations at once succeed, and then it serves', async () => {
  const empty = await freshDatabase('template0');
  const env = { ...given, DATABASE_URL: empty.url };
  const refused = await failToStart(env);
  expect(refused).toMatchObject({ code: 1, output: expect.stringMatching(/npm run migrate/) });
  const both = await Promise.all([runCommand('migrate', { env }), runCommand('migrate', { env })]);
  expect(both.map(({ code, output }) => [code, output.split(/[:.]/)[0]]).sort()).toEqual([
    [0, 'Migrated'],
    [0, 'Nothing to migrate'],
  ]);
  const administrator = { env, args: ['--email', 'boss@example.test'], input: 'seven violet tractors' };
  expect((await runCommand('seed', { env })).code).toBe(0);
  expect((await runCommand('create-admin', administrator)).code).toBe(0);
  expect((await runCommand('create-admin', administrator)).code).toBe(1);
  const again = { ...administrator, args: [...administrator.args, '--if-missing'], input: 'eleven marble canoes' };
  expect(await runCommand('create-admin', again)).toMatchObject({
    code: 0,
    output: expect.stringMatching('nothing was changed'),
  });
  const patients = { ...again, args: ['--email', 'Patient@demo.test', '--if-missing'] };
  expect(await runCommand('create-admin', patients)).toMatchObject({
    code: 1,
    output: expect.stringMatching("not an administrator's: choose another address"),
  });

  const newer = new pg.Client(empty.url);
  await newer.connect();
  await newer.query(`INSERT INTO mikro_orm_migrations (name) VALUES ('9999-from-a-later-build')`);
  await newer.end();
  const service = await startService(env);
  expect((await fetch(`http://127.0.0.1:${service.httpPort}/readyz`)).status).toBe(200);
  const known = await logIn(service, 'boss@example.test', 'seven violet tractors');
  expect(known.role).toBe(Role.ADMINISTRATOR);
  expect((await outcomeOf(known, (as) => clientsOf(service).grpc.admin.listUsers({}, as))).reason).toBe('OK');
  service.kill('SIGTERM');
  expect((await service.ended).code).toBe(0);
  expect((await runCommand('migrate', { env })).output).toMatch('Nothing to migrate');
  await empty.drop();
});
