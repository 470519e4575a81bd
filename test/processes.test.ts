import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ConnectError } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import * as grpc from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { grpcJsTransport } from '../src/rpc/grpc-js-transport.fixture.ts';
import { CERTIFICATE } from '../src/rpc/tls.fixture.ts';
import { brokenInvariants, openSlots, type Person, person } from './support/people.ts';
import { type Clients, clientsOf, clientsOver, outcomeOf, tally } from './support/process-client.ts';
import { endProcesses, failToStart, type Service, startService } from './support/process-service.ts';
import { startServer, type TestServer } from './support/server.ts';

const run = promisify(execFile);
const TWINS = ['twin-1', 'twin-2'];

type Environment = Readonly<Record<string, string>>;

let server: TestServer; // prepares and looks; the calls go to processes
let folder: string;
let patient: Person;
let doctor: Person;
let given: Environment;

beforeAll(async () => {
  server = await startServer();
  folder = await mkdtemp(join(tmpdir(), 'amrutam-processes-'));
  [patient, doctor] = await Promise.all([person(server, 'PATIENT'), person(server, 'DOCTOR')]);
  given = { DATABASE_URL: server.url, JWT_KEYS_FILE: server.keysFile, PROCESSES: '2', INSTANCE: 'twin' };
});

afterEach(endProcesses);

afterAll(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true, maxRetries: 20 }); // an embedded database ends after its owner
});

const start = (env: Environment = {}) => startService({ ...given, ...env });

interface Line {
  readonly msg: string;
  readonly instance: string;
  readonly pid: number;
  readonly method?: string;
  readonly requestId?: string;
  readonly pauseMs?: number;
}

/** The lines of the log with that message, so far. */
function logged({ output }: Service, msg: string): Line[] {
  const lines = output().split('\n');
  return lines.flatMap((line) => (line.endsWith(`"msg":"${msg}"}`) ? [JSON.parse(line) as Line] : []));
}

/** Pids of the processes by name: the newest of each. */
function pidsOf(service: Service): Map<string, number> {
  return new Map(logged(service, 'a process has started').map(({ instance, pid }) => [instance, pid]));
}

/** Over grpc-js, on a connection that nobody else uses. */
function alone({ grpcPort }: Service): Clients {
  return clientsOver(
    grpcJsTransport(`127.0.0.1:${grpcPort}`, grpc.credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    }),
  );
}

/** Clients of `count` connections, and which process each of them got. */
async function connected(service: Service, count: number): Promise<{ clients: Clients; instance: string }[]> {
  const all = Array.from({ length: count }, () => ({ clients: alone(service), id: randomUUID() }));
  for (const { clients, id } of all)
    await clients.availability.getDoctor({ doctorId: doctor.id }, { headers: { 'x-request-id': id } });
  const took = (id: string) => logged(service, 'call').find(({ requestId }) => requestId === id)?.instance ?? '';
  await until(() => all.every(({ id }) => took(id) !== ''));
  return all.map(({ clients, id }) => ({ clients, instance: took(id) }));
}

/** Reads with each of `clients` until `stop`, which tells how many calls there were, and what failed. */
function reading(clients: readonly Clients[]) {
  const failures: string[] = [];
  let [calls, stopped] = [0, false];
  const run = async ({ availability }: Clients) => {
    for (; !stopped; await sleep(2)) {
      calls += 1;
      await availability
        .getDoctor({ doctorId: doctor.id })
        .catch((error) => failures.push(`${ConnectError.from(error)}`));
    }
  };
  const running = Promise.all(clients.map(run));
  return {
    async stop() {
      stopped = true;
      await running;
      return { calls, failures };
    },
  };
}

test('both answer on both ports, in turn, and each has a name in the audit trail and the database', async () => {
  const service = await start();
  expect(logged(service, 'serving')).toEqual([
    expect.objectContaining({ grpcPort: service.grpcPort, httpPort: service.httpPort, instance: 'twin' }),
  ]);
  const slots = await openSlots(server, doctor.id, { count: 12 });
  for (const { id: slotId } of slots)
    await alone(service).booking.bookSlot({ requestId: randomUUID(), slotId }, patient);
  const baseUrl = `http://127.0.0.1:${service.httpPort}`;
  for (let i = 0; i < 12; i++) {
    const anew = createConnectTransport({ baseUrl, httpVersion: '1.1', nodeOptions: { agent: new Agent() } });
    await clientsOver(anew).availability.searchDoctors({});
  }
  const methods = (name: string) => logged(service, 'call').filter(({ method }) => method?.endsWith(name));
  await until(() => methods('SearchDoctors').length === 12);
  for (const name of ['BookSlot', 'SearchDoctors'])
    expect(new Set(methods(name).map(({ instance }) => instance))).toEqual(new Set(TWINS));
  const names = (text: string) => query<{ name: string }>(text).then((rows) => rows.map(({ name }) => name));
  expect(await names(`SELECT DISTINCT instance AS name FROM audit_event WHERE action = 'BookSlot' ORDER BY 1`)).toEqual(
    TWINS,
  );
  expect(
    await names(`SELECT DISTINCT application_name AS name FROM pg_stat_activity
      WHERE datname = current_database() AND application_name LIKE 'amrutam twin-%' ORDER BY 1`),
  ).toEqual(TWINS.map((name) => `amrutam ${name}`));
  // Background jobs belong to the whole, not to each.
  expect(
    await names(`SELECT DISTINCT application_name AS name FROM pg_stat_activity
      WHERE datname = current_database() AND application_name LIKE 'amrutam jobs %'`),
  ).toEqual(['amrutam jobs twin']);
  service.kill('SIGTERM');
  expect((await service.ended).code).toBe(0);
  expect([...pidsOf(service).values()].filter(lives)).toEqual([]);
});

test('both answer over TLS, on both ports', async () => {
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  await Promise.all([writeFile(cert, CERTIFICATE.cert), writeFile(key, CERTIFICATE.key)]);
  const service = await start({ TLS_CERT_FILE: cert, TLS_KEY_FILE: key });
  const nodeOptions = { ca: CERTIFICATE.cert };
  for (let i = 0; i < 4; i++) {
    for (const transport of [
      createGrpcTransport({ baseUrl: `https://127.0.0.1:${service.grpcPort}`, nodeOptions }),
      createConnectTransport({ baseUrl: `https://127.0.0.1:${service.httpPort}`, httpVersion: '1.1', nodeOptions }),
      createConnectTransport({ baseUrl: `https://127.0.0.1:${service.httpPort}`, httpVersion: '2', nodeOptions }),
    ])
      expect((await clientsOver(transport).availability.getDoctor({ doctorId: doctor.id })).doctor?.id).toBe(doctor.id);
  }
  await until(() => logged(service, 'call').length === 12);
  expect(new Set(logged(service, 'call').map(({ instance }) => instance))).toEqual(new Set(TWINS));
});

test('one is killed: calls at the other go on, and it is replaced', async () => {
  const service = await start();
  const all = await connected(service, 8);
  const at = (name: string) => all.filter(({ instance }) => instance === name).map(({ clients }) => clients);
  expect([at('twin-1').length, at('twin-2').length]).toEqual([4, 4]);
  const readers = reading(at('twin-2'));
  await sleep(200);
  const [victim, other] = TWINS.map((name) => pidsOf(service).get(name) as number) as [number, number];
  process.kill(victim, 'SIGKILL');
  await service.wrote('another process has taken its place');
  await sleep(200);
  const { calls, failures } = await readers.stop();
  expect(failures).toEqual([]);
  expect(calls).toBeGreaterThan(100);
  expect(logged(service, 'a process has ended: another will take its place')).toMatchObject([
    { instance: 'twin-1', pid: victim, end: 'SIGKILL' },
  ]);
  expect(pidsOf(service).get('twin-1')).not.toBe(victim);
  expect(pidsOf(service).get('twin-2')).toBe(other);
  const anew = await connected(service, 4);
  expect(new Set(anew.map(({ instance }) => instance))).toEqual(new Set(TWINS));
});

test('one that can no longer start is tried again, less and less often, while the other serves', async () => {
  const keys = join(folder, 'keys.json');
  await writeFile(keys, await readFile(server.keysFile), { mode: 0o600 });
  const service = await start({ JWT_KEYS_FILE: keys });
  await rename(keys, `${keys}.away`);
  process.kill(pidsOf(service).get('twin-1') as number, 'SIGKILL');
  const ended = () => logged(service, 'a process has ended: another will take its place');
  await until(() => ended().length >= 4);
  const pauses = ended().map(({ pauseMs = 0 }) => pauseMs);
  expect(pauses.slice(0, 4)).toEqual([250, 500, 1000, 2000]);
  expect(service.output()).toMatch(/JWT_KEYS_FILE.*"msg":"a process could not serve"/);
  for (const { instance } of await connected(service, 4)) expect(instance).toBe('twin-2');
  await rename(`${keys}.away`, keys);
  await service.wrote('another process has taken its place');
  service.kill('SIGTERM');
  expect((await service.ended).code).toBe(0);
});

test('SIGTERM to one alone: it drains, no call fails, and it is replaced', async () => {
  const service = await start({ DRAIN_DELAY: '1' });
  const readers = reading((await connected(service, 8)).map(({ clients }) => clients));
  await sleep(200);
  process.kill(pidsOf(service).get('twin-2') as number, 'SIGTERM');
  await service.wrote('another process has taken its place');
  await sleep(200);
  expect((await readers.stop()).failures).toEqual([]);
});

test('SIGTERM under load: clients that know another instance lose no call, and a booking that waits is made', async () => {
  const services = [await start(), await start({ INSTANCE: 'other' })];
  const addresses = services.map(({ grpcPort }) => `127.0.0.1:${grpcPort}`).join(',');
  const config = JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] });
  const clients = Array.from({ length: 8 }, () => {
    const options = { 'grpc.service_config': config, 'grpc.use_local_subchannel_pool': 1 };
    return clientsOver(grpcJsTransport(`ipv4:${addresses}`, grpc.credentials.createInsecure(), options));
  });
  const readers = reading(clients);
  await sleep(300);
  const [first, second] = services as [Service, Service];
  const [slot] = await openSlots(server, doctor.id, { inMinutes: 600 });
  const release = await locked('LOCK TABLE booking IN ACCESS EXCLUSIVE MODE');
  const booking = alone(first).booking.bookSlot({ requestId: randomUUID(), slotId: slot?.id ?? '' }, patient);
  await sleep(300);
  first.kill('SIGTERM');
  await first.wrote('"msg":"stopping"');
  await sleep(1_000);
  await release();
  expect((await booking).booking?.slotId).toBe(slot?.id);
  expect((await first.ended).code).toBe(0);
  await sleep(300);
  const { calls, failures } = await readers.stop();
  expect(failures).toEqual([]);
  expect(calls).toBeGreaterThan(100);
  expect([...pidsOf(first).values()].filter(lives)).toEqual([]);
  second.kill('SIGTERM');
  expect((await second.ended).code).toBe(0);
  expect(await brokenInvariants(server)).toEqual({});
});

test('a second SIGTERM ends all of them at once', async () => {
  const service = await start({ DRAIN_DELAY: '60' });
  service.kill('SIGTERM');
  await service.wrote('"msg":"stopping"');
  service.kill('SIGTERM');
  expect((await service.ended).code).toBe(1);
  await until(() => [...pidsOf(service).values()].filter(lives).length === 0);
});

test('Ctrl-C reaches all of them at once, and counts once', async () => {
  const service = await start({ DRAIN_DELAY: '1' });
  const readers = reading((await connected(service, 4)).map(({ clients }) => clients));
  const askedAt = performance.now();
  for (const pid of [...pidsOf(service).values(), service.pid]) process.kill(pid, 'SIGINT');
  await sleep(700);
  expect((await readers.stop()).failures).toEqual([]);
  expect((await service.ended).code).toBe(0);
  expect(performance.now() - askedAt).toBeGreaterThan(900);
});

test('the limit of LogIn counts over both', async () => {
  const service = await start({ RATE_LIMITS: 'on' });
  const outcomes = [];
  for (let i = 0; i < 20; i++) {
    const { auth } = clientsOf(service)[i % 2 ? 'json' : 'grpc'];
    outcomes.push(
      ...(await Promise.all(Array.from({ length: 5 }, () => outcomeOf({}, (options) => auth.logIn({}, options))))),
    );
  }
  expect(tally(outcomes)).toEqual({ FIELD_INVALID: 60, RATE_LIMITED: 40 });
  await until(() => logged(service, 'call').length === 100);
  expect(new Set(logged(service, 'call').map(({ instance }) => instance))).toEqual(new Set(TWINS));
});

test('while the supervisor does not answer each counts for itself, never without limit', async () => {
  const service = await start({ RATE_LIMITS: 'on' });
  const all = await connected(service, 4);
  const logIn = (clients: Clients) => outcomeOf({}, (options) => clients.auth.logIn({}, options));
  service.kill('SIGSTOP');
  const outcomes = [];
  for (let i = 0; i < 200; i++) outcomes.push(await logIn(all[i % 4]?.clients as Clients));
  service.kill('SIGCONT');
  expect(tally(outcomes)).toEqual({ FIELD_INVALID: 120, RATE_LIMITED: 80 });
});

test('the connections to the database are shared out, rounded up', async () => {
  const service = await start({ DATABASE_POOL: '3' });
  const all = await connected(service, 4);
  const release = await locked('LOCK TABLE booking IN ACCESS EXCLUSIVE MODE');
  const calls = all.flatMap(({ clients }) =>
    Array.from({ length: 4 }, () => outcomeOf(patient, (options) => clients.booking.listBookings({}, options))),
  );
  await sleep(500);
  const connections = await query(`SELECT application_name AS name, count(*)::int AS count FROM pg_stat_activity
    WHERE application_name LIKE 'amrutam twin-%' GROUP BY 1 ORDER BY 1`);
  await release();
  await Promise.all(calls);
  expect(connections).toEqual(TWINS.map((name) => ({ name: `amrutam ${name}`, count: 2 })));
});

test('the supervisor is killed: calls in flight are answered, the processes end, and the ports are free', async () => {
  const service = await start();
  const slots = await openSlots(server, doctor.id, { count: 4, inMinutes: 1_200 });
  const all = await connected(service, 4);
  const release = await locked('LOCK TABLE booking IN ACCESS EXCLUSIVE MODE');
  const bookings = all.map(({ clients }, i) =>
    clients.booking.bookSlot({ requestId: randomUUID(), slotId: slots[i]?.id ?? '' }, patient),
  );
  await sleep(300);
  service.kill('SIGKILL');
  await until(() => logged(service, 'stopping').length === 2);
  await release();
  expect((await Promise.all(bookings)).map(({ booking }) => booking?.slotId)).toEqual(slots.map(({ id }) => id));
  await service.ended;
  await until(() => [...pidsOf(service).values()].filter(lives).length === 0);
  const next = await start({ GRPC_PORT: `${service.grpcPort}`, HTTP_PORT: `${service.httpPort}` });
  expect(new Set((await connected(next, 4)).map(({ instance }) => instance))).toEqual(new Set(TWINS));
});

test('the embedded database belongs to the supervisor: filled once, its password shown nowhere, and it ends with it', async () => {
  const dataDir = join(folder, 'data');
  const service = await startService({ DATA_DIR: dataDir, PROCESSES: '2', INSTANCE: 'twin' });
  await service.wrote('is serving');
  const { doctors } = await clientsOf(service).grpc.availability.searchDoctors({});
  expect(doctors).toHaveLength(5);
  const { password } = JSON.parse(await readFile(join(dataDir, 'postgres.json'), 'utf8')) as { password: string };
  const { stdout } = await run('ps', ['-ww', '-eo', 'args']);
  expect(stdout).toContain('src/worker.ts');
  for (const text of [stdout, service.output()]) expect(text).not.toContain(password);
  expect(service.output().match(/is serving/g)).toHaveLength(1);
  const postgres = Number((await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0]);
  service.kill('SIGKILL');
  await service.ended;
  await until(() => [...pidsOf(service).values(), postgres].filter(lives).length === 0);
  const again = await startService({ DATA_DIR: dataDir, PROCESSES: '2' });
  again.kill('SIGTERM');
  expect((await again.ended).code).toBe(0);
});

test('what is wrong is said once, and stops the start', async () => {
  const squatter = createServer().listen(0, '127.0.0.1');
  await once(squatter, 'listening');
  const taken = String((squatter.address() as AddressInfo).port);
  for (const [name, value, why] of [
    ['PROCESSES', 'many', /PROCESSES is "many": it must be a whole number from 1 to 64, or auto/],
    ['GRPC_PORT', taken, new RegExp(`GRPC_PORT: can't listen on 127.0.0.1:${taken}: another process uses it already`)],
    ['HTTP_PORT', taken, new RegExp(`HTTP_PORT: can't listen on 127.0.0.1:${taken}: another process uses it already`)],
    ['METRICS_PORT', taken, new RegExp(`METRICS_PORT: can't listen on 127.0.0.1:${taken}: another process uses it`)],
    ['HOST', 'no such host', /HOST/],
    ['JWT_KEYS_FILE', '/nowhere/keys.json', /JWT_KEYS_FILE/],
  ] as const) {
    const { code, output } = await failToStart({ ...given, [name]: value });
    expect({ code, output }).toEqual({ code: 1, output: expect.stringMatching(why) });
    expect(output.match(/can't start/g)).toHaveLength(1);
    expect(output).not.toMatch('"msg":"serving"');
  }
  squatter.close();
});

async function query<R = unknown>(text: string): Promise<R[]> {
  const client = new pg.Client(server.url);
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

/** Takes a lock; the function it answers gives it back. */
async function locked(statement: string): Promise<() => Promise<void>> {
  const client = new pg.Client(server.url);
  await client.connect();
  await client.query('BEGIN');
  await client.query(statement);
  return async () => {
    await client.query('ROLLBACK');
    await client.end();
  };
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function until(what: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; !what(); await sleep(20)) {
    if (Date.now() > deadline) throw new Error('it did not happen in time');
  }
}
