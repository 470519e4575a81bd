import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { ErrorInfoSchema, RetryInfoSchema } from '../gen/google/rpc/error_details_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Status } from '../gen/health/v1/health_pb.ts';
import { grpcJsTransport } from '../src/rpc/grpc-js-transport.fixture.ts';
import { brokenInvariants, openSlots, type Person, person } from './support/people.ts';
import { clientsOf, clientsOver } from './support/process-client.ts';
import { endProcesses, type Service, startService } from './support/process-service.ts';
import { startServer, type TestServer } from './support/server.ts';

const DRAIN_DELAY = '1';
const CALLERS = 8;

let server: TestServer; // prepares and looks; the calls go to processes
let patient: Person;
let doctor: Person;

beforeAll(async () => {
  server = await startServer();
  [patient, doctor] = await Promise.all([person(server, 'PATIENT'), person(server, 'DOCTOR')]);
});

afterAll(async () => {
  endProcesses();
  await server?.stop();
});

const start = (env: Readonly<Record<string, string>> = {}) =>
  startService({ DATABASE_URL: server.url, JWT_KEYS_FILE: server.keysFile, DRAIN_DELAY, ...env });

/** Over grpc-js, to all of `services` at once. */
function toAll(services: readonly Service[], policy: 'round_robin' | 'pick_first'): Transport {
  const addresses = services.map(({ grpcPort }) => `127.0.0.1:${grpcPort}`).join(',');
  const config = JSON.stringify({ loadBalancingConfig: [{ [policy]: {} }] });
  return grpcJsTransport(`ipv4:${addresses}`, grpc.credentials.createInsecure(), { 'grpc.service_config': config });
}

/** Callers who read, one call after the other, until `stop`; which tells how many calls there were, and what failed. */
function callers(transport: Transport) {
  const { availability } = clientsOver(transport);
  const failures: ConnectError[] = [];
  let [calls, stopped] = [0, false];
  const run = async () => {
    for (; !stopped; await sleep(2)) {
      calls += 1;
      await availability.getDoctor({ doctorId: doctor.id }).catch((error) => failures.push(ConnectError.from(error)));
    }
  };
  const running = Promise.all(Array.from({ length: CALLERS }, run));
  return {
    async stop() {
      stopped = true;
      await running;
      return { calls, failures: failures.map(({ message }) => message) };
    },
  };
}

test('gRPC clients that know several instances lose no call when each is replaced in turn', async () => {
  const services = [await start(), await start()];
  const both = [callers(toAll(services, 'round_robin')), callers(toAll(services, 'pick_first'))];
  for (const [i, { grpcPort, httpPort, kill, ended }] of [...services].entries()) {
    await sleep(300);
    kill('SIGTERM');
    expect((await ended).code).toBe(0);
    services[i] = await start({ GRPC_PORT: `${grpcPort}`, HTTP_PORT: `${httpPort}` });
    await sleep(1_500); // a client may wait for a second before it tries an address again
  }
  for (const each of both) {
    const { calls, failures } = await each.stop();
    expect(failures).toEqual([]);
    expect(calls).toBeGreaterThan(100);
  }
  await stopAll(services);
});

test('an instance that stops says so first, and serves everybody until the delay is over', async () => {
  const service = await start();
  const url = `http://127.0.0.1:${service.httpPort}`;
  const health = createClient(Health, createGrpcTransport({ baseUrl: `http://127.0.0.1:${service.grpcPort}` }));
  const told: Status[] = [];
  const watching = (async () => {
    for await (const { status } of health.watch({})) told.push(status);
  })().catch(ConnectError.from);
  await until(() => told.at(-1) === Status.SERVING);
  const livez = async () => {
    const page = await fetch(`${url}/livez`);
    await page.text();
    return [page.status, page.headers.get('connection')];
  };
  expect(await livez()).toEqual([200, 'keep-alive']);

  service.kill('SIGTERM');
  await until(() => told.at(-1) === Status.NOT_SERVING);
  const toldAt = performance.now();
  expect(await livez()).toEqual([200, 'close']);
  expect((await fetch(`${url}/readyz`)).status).toBe(503);
  expect((await health.check({})).status).toBe(Status.NOT_SERVING);
  while (performance.now() - toldAt < 500) {
    const anew = clientsOf(service);
    const answers = await Promise.all([
      anew.grpc.availability.getDoctor({ doctorId: doctor.id }),
      anew.json.availability.getDoctor({ doctorId: doctor.id }),
    ]);
    expect(answers.map((answer) => answer.doctor?.id)).toEqual([doctor.id, doctor.id]);
  }

  const end = await watching;
  expect(performance.now() - toldAt).toBeGreaterThan(800);
  if (!(end instanceof ConnectError)) throw new Error('the watch ended without an error');
  expect(end.findDetails(ErrorInfoSchema)[0]?.reason).toBe('DRAINING');
  expect(end.findDetails(RetryInfoSchema)).toHaveLength(1);
  expect((await service.ended).code).toBe(0);
});

test('callers over kept connections of HTTP/1 are served until the instance is gone: one call a connection, then none', async () => {
  const service = await start({ DRAIN_DELAY: '0' });
  const baseUrl = `http://127.0.0.1:${service.httpPort}`;
  const all = [true, false].map((useBinaryFormat) =>
    Array.from({ length: CALLERS }, async () => {
      const { availability } = clientsOver(createConnectTransport({ baseUrl, httpVersion: '1.1', useBinaryFormat }));
      for (let answers = 0; ; answers += 1) {
        const error = await availability.getDoctor({ doctorId: doctor.id }).then(() => undefined, ConnectError.from);
        if (error) return { answers, end: error.rawMessage };
      }
    }),
  );
  await sleep(500);
  service.kill('SIGTERM');
  for (const { answers, end } of await Promise.all(all.flat())) {
    expect(answers).toBeGreaterThan(0);
    expect(end).toContain('ECONNREFUSED');
  }
  expect((await service.ended).code).toBe(0);
});

test('a booking and a report that wait for the database are answered, though the instance was told to stop', async () => {
  const service = await start({ DRAIN_DELAY: '0' });
  const [slot] = await openSlots(server, doctor.id);
  const lastDay = { from: timestampFromMs(Date.now() - 86_400_000), until: timestampFromMs(Date.now()) };
  const administrator = await person(server, 'ADMINISTRATOR');
  const clients = clientsOf(service);
  const locker = await lockOf('LOCK TABLE booking IN ACCESS EXCLUSIVE MODE');
  const requestId = randomUUID();
  const calls = [
    clients.grpc.booking.bookSlot({ requestId, slotId: slot?.id ?? '' }, patient),
    clients.json.admin.getAnalytics(lastDay, administrator),
    clients.grpc.admin.getAnalytics(lastDay, administrator),
  ];
  await sleep(300);
  service.kill('SIGTERM');
  await service.wrote('"msg":"stopping"');
  await sleep(1_200);
  await locker.release();
  await Promise.all(calls);
  expect((await service.ended).code).toBe(0);
  expect(await brokenInvariants(server)).toEqual({});
});

test.each([
  ['SIGTERM', 'SIGTERM', 0],
  ['an error that nobody expected', 'SIGUSR2', 1],
] as const)('the last line before an end by %s is written: that it has stopped', async (_, signal, code) => {
  const failing = encodeURIComponent('process.on("SIGUSR2", () => { throw new Error("planned"); })');
  const service = await start({ DRAIN_DELAY: '0', NODE_OPTIONS: `--import=data:text/javascript,${failing}` });
  service.kill(signal);
  const ended = await service.ended;
  expect(ended.code).toBe(code);
  expect(ended.output.trimEnd().split('\n').at(-1)).toContain('"msg":"stopped"');
});

test('a second SIGTERM ends it at once, whatever waits', async () => {
  const service = await start({ DRAIN_DELAY: '60' });
  service.kill('SIGTERM');
  await service.wrote('"msg":"stopping"');
  const askedAt = performance.now();
  service.kill('SIGTERM');
  expect((await service.ended).code).toBe(1);
  expect(performance.now() - askedAt).toBeLessThan(5_000);
});

async function lockOf(statement: string): Promise<{ release(): Promise<void> }> {
  const client = new pg.Client(server.url);
  await client.connect();
  await client.query('BEGIN');
  await client.query(statement);
  return {
    async release() {
      await client.query('ROLLBACK');
      await client.end();
    },
  };
}

async function stopAll(services: readonly Service[]): Promise<void> {
  for (const { kill } of services) kill('SIGKILL');
  await Promise.all(services.map(({ ended }) => ended));
}

async function until(what: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 10_000; !what(); await sleep(20)) {
    if (Date.now() > deadline) throw new Error('it did not happen in time');
  }
}
