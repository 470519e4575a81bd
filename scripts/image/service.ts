import assert from 'node:assert/strict';
import { randomUUIDv7 as uuid } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { clientsOf, type Ports } from '../../test/support/process-client.ts';
import { type Container, start } from './container.ts';
import { run } from './run.ts';
import type { Scene } from './scene.ts';
import { say, seconds } from './tell.ts';

const PATIENT = { email: 'patient@demo.test', password: 'correct-horse-battery' };
const SERVING = '"msg":"serving"';
/** What DRAIN_DELAY is when nobody sets it, and half a second for what was on its way. */
const DRAIN_MS = 5_500;
/** Longer than podman and a busy machine need to tell that a container has ended. */
const TOLD_MS = 10_000;

/** It books, says truly whether it is healthy, and when asked to end brings what it does to an end first. */
export async function booksAndDrains({ image, given, ports, proxy }: Scene): Promise<void> {
  const container = start(image, [], given);
  await container.wrote(SERVING);
  await container.wrote('Redis answers');
  const { output: first } = await container.exec(['cat', '/proc/1/cmdline']);
  assert.match(first, /^node\0.*\0src\/main\.ts\0$/);
  say('process 1 is node');

  const book = await booker(ports);
  for (const protocol of ['grpc', 'json'] as const) await book(protocol);
  say('a slot is booked over gRPC and one as JSON; a repeated request gets the same booking');

  const healthy = await healthOf(image, container);
  assert.equal(await healthy(), true);
  proxy.refuse();
  proxy.cut();
  while (await healthy()) await sleep(100);
  proxy.accept();
  while (!(await healthy())) await sleep(100);
  say('the health check passes, fails while the database is away, and passes again');

  const askedAt = performance.now();
  container.signal('TERM');
  assert.equal(await healthy(), false);
  await book('grpc');
  const drained = await goneAfter(container, askedAt, DRAIN_MS);
  say(`SIGTERM: no longer healthy, books on for DRAIN_DELAY, and has ended well after ${drained}`);
}

/** Several processes in one container end with it, too. */
export async function processesEndTogether({ image, given, ports }: Scene): Promise<void> {
  const env = { ...given.env, PROCESSES: '2', DRAIN_DELAY: '0' };
  const container = start(image, [], { ...given, env });
  await container.wrote(SERVING);
  await (await booker(ports))('grpc');
  const askedAt = performance.now();
  container.signal('TERM');
  say(`PROCESSES=2 books, and has ended well after ${await goneAfter(container, askedAt, 0)}`);
}

/** As process 1 it would get no signal before it listens to them. */
export async function endsWhileItStarts({ image, given }: Scene): Promise<void> {
  let asked = false;
  const silent = createServer(() => {
    asked = true;
  });
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  const { port } = silent.address() as AddressInfo;
  const env = { ...given.env, DATABASE_URL_FILE: null, DATABASE_URL: `postgres://nobody@127.0.0.1:${port}/nothing` };
  for (const command of [[], ['migrate']]) {
    asked = false;
    const container = start(image, command, { ...given, env });
    while (!asked) await sleep(50);
    const askedAt = performance.now();
    container.signal('TERM');
    await goneAfter(container, askedAt, 0, 143);
  }
  silent.close();
  say('SIGTERM while it waits for its database, or migrates, ends it at once');
}

/** Books a free slot as a patient, twice with one request. */
async function booker(ports: Ports): Promise<(protocol: 'grpc' | 'json') => Promise<void>> {
  const clients = clientsOf(ports);
  const { session } = await clients.json.auth.logIn(PATIENT);
  const headers = { authorization: `Bearer ${session?.accessToken}` };
  return async (protocol) => {
    const { availability, booking } = clients[protocol];
    const { doctors } = await availability.searchDoctors({});
    const { slots } = await availability.listSlots({ doctorId: doctors[0]?.id ?? '', pageSize: 100 });
    // Far apart, so that no two of one patient's overlap.
    const request = { requestId: uuid(), slotId: slots[(taken++ * 7) % slots.length]?.id ?? '' };
    const made = await booking.bookSlot(request, { headers });
    const again = await booking.bookSlot(request, { headers });
    assert.ok(made.booking?.id);
    assert.equal(again.booking?.id, made.booking.id);
  };
}
let taken = 0;

/** Runs the health check of the image as a container engine does. */
async function healthOf(image: string, container: Container): Promise<() => Promise<boolean>> {
  const { Test } = JSON.parse(run('podman', ['image', 'inspect', '--format', '{{json .HealthCheck}}', image])) as {
    Test: string[];
  };
  assert.equal(Test[0], 'CMD');
  return async () => (await container.exec(Test.slice(1))).code === 0;
}

/** Resolves, with how long it took, when the container has ended with `code`. Throws when it takes longer than `ms` and a little. */
async function goneAfter(container: Container, askedAt: number, ms: number, code = 0): Promise<string> {
  const late = sleep(ms + TOLD_MS, undefined, { ref: false });
  const end = await Promise.race([container.ended, late]);
  if (!end) container.signal('KILL');
  assert.equal(end?.code, code, `it did not end as asked:\n${container.output()}`);
  return seconds(performance.now() - askedAt);
}
