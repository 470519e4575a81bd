import { randomUUIDv7 as uuid } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createKeyFile } from '../src/auth/signing-keys.ts';
import { migrate } from '../src/db/migrate.ts';
import { createOrm } from '../src/db/orm.ts';
import { createReplica, type Replica } from '../src/db/replica.ts';
import { entities } from '../src/entities.ts';
import { type Cluster, type Server, startCluster } from './support/cluster.ts';
import { eventually } from './support/eventually.ts';
import { openSlots, person } from './support/people.ts';
import { type Clients, clientsOf } from './support/process-client.ts';
import { endProcesses, startService } from './support/process-service.ts';
import { startServer, type TestServer } from './support/server.ts';

const DAY_MS = 24 * 3_600_000;

let cluster: Cluster;
let leader: Server;
let standby: Server;
let plain: TestServer;
let reading: TestServer;
let replica: Replica;
let [changing, asking] = [] as unknown as [Clients, Clients];
/** Reads that were answered there, and that were not. */
const counted = { there: 0, elsewhere: 0 };
const failures: string[] = [];

beforeAll(async () => {
  cluster = await startCluster();
  leader = cluster.leader;
  await leader.query('CREATE DATABASE clinic');
  await migrate(leader.url('clinic'));
  standby = await leader.standby();
  plain = await startServer({ databaseUrl: leader.url('clinic') });
  const orm = (url: string) => createOrm({ url, pool: 10, poolWaitMs: 2_000, applicationName: 'test' }, entities);
  replica = createReplica({
    orm: orm(standby.url('clinic')),
    leader: orm(leader.url('clinic')),
    pool: { connections: 10, waitMs: 2_000 },
    count: (there) => {
      counted[there ? 'there' : 'elsewhere'] += 1;
    },
    failed: (problem) => failures.push(problem),
  });
  reading = await startServer({ databaseUrl: leader.url('clinic'), keysFile: plain.keysFile, replica });
  await eventually(replica.usable);
  [changing, asking] = [clientsOf(plain).grpc, clientsOf(reading).grpc];
});
afterAll(async () => {
  endProcesses();
  replica.stop();
  for (const server of [reading, plain]) await server.stop();
  await cluster.end();
});

async function answeredThere(work: () => Promise<unknown>): Promise<number> {
  const before = counted.there;
  await work();
  return counted.there - before;
}

test('listings, reports, users and the audit trail are read from the replica', async () => {
  const [doctor, admin] = [await person(plain, 'DOCTOR', 'Dr. Replica'), await person(plain, 'ADMINISTRATOR')];
  await openSlots(plain, doctor.id, { count: 3 });
  const now = Date.now();
  const range = { from: timestampFromDate(new Date(now - DAY_MS)), until: timestampFromDate(new Date(now + DAY_MS)) };
  const reads: readonly (() => Promise<unknown>)[] = [
    async () => expect((await asking.availability.listSlots({ doctorId: doctor.id })).slots).toHaveLength(3),
    async () =>
      expect((await asking.availability.getDoctor({ doctorId: doctor.id })).doctor?.displayName).toBe('Dr. Replica'),
    async () => expect((await asking.availability.searchDoctors({ query: 'replica' })).doctors).toHaveLength(1),
    async () => expect((await asking.availability.listSlots({ doctorId: doctor.id }, doctor)).slots).toHaveLength(3),
    async () => expect((await asking.admin.getAnalytics(range, admin)).totals?.publishedMinutes).toBe(90n),
    async () => expect((await asking.admin.listUsers({ query: 'Dr. Replica' }, admin)).users).toHaveLength(1),
    async () => expect((await asking.admin.listAuditEvents({}, admin)).events.length).toBeGreaterThan(0),
  ];
  for (const read of reads) expect([await answeredThere(read), replica.usable()]).toEqual([1, true]);
  expect(failures).toEqual([]);
});

test('a doctor who isn’t there is refused there as well', async () => {
  const asked = () => asking.availability.getDoctor({ doctorId: uuid() });
  expect(await answeredThere(() => expect(asked()).rejects.toThrow('no such doctor'))).toBe(1);
});

test('who has changed something sees it at once, whatever the replica lags behind', async () => {
  const [doctor, patient, admin] = [
    await person(plain, 'DOCTOR'),
    await person(plain, 'PATIENT'),
    await person(plain, 'ADMINISTRATOR'),
  ];
  const slots = await openSlots(plain, doctor.id, { count: 20 });
  for (const [done, { id: slotId }] of slots.entries()) {
    const paused = done % 5 === 4;
    if (paused) await standby.query('SELECT pg_wal_replay_pause()');
    const { booking } = await asking.booking.bookSlot({ requestId: uuid(), slotId }, patient);
    const { slots: open } = await asking.availability.listSlots({ doctorId: doctor.id });
    expect(open.map(({ id }) => id)).toEqual(slots.slice(done + 1).map(({ id }) => id));
    const { events } = await asking.admin.listAuditEvents({ entityId: booking?.id as string }, admin);
    expect(events).toHaveLength(1);
    if (!paused) continue;
    expect(replica.usable()).toBe(false);
    await standby.query('SELECT pg_wal_replay_resume()');
    await eventually(replica.usable);
  }
});

test('what another instance has changed is seen soon', async () => {
  const doctor = await person(plain, 'DOCTOR');
  await openSlots(plain, doctor.id);
  expect((await asking.availability.listSlots({ doctorId: doctor.id })).slots).toHaveLength(1);
  const startTime = timestampFromDate(new Date(Math.ceil(Date.now() / 60_000) * 60_000 + 3 * DAY_MS));
  const endTime = timestampFromDate(new Date(Number(startTime.seconds) * 1000 + 1_800_000));
  await changing.availability.publishSlots({ requestId: uuid(), slots: [{ startTime, endTime }] }, doctor);
  await eventually(async () => (await asking.availability.listSlots({ doctorId: doctor.id })).slots.length === 2);
});

test.each(['1', '2'])(
  'the service with %s process(es) reads from DATABASE_REPLICA_URL, does without, and takes it up again',
  async (PROCESSES) => {
    const folder = await mkdtemp(join(tmpdir(), 'amrutam-replica-'));
    const keys = join(folder, 'keys.json');
    await createKeyFile(keys);
    const service = await startService({
      DATABASE_URL: leader.url('clinic'),
      DATABASE_REPLICA_URL: standby.url('clinic'),
      JWT_KEYS_FILE: keys,
      METRICS_PORT: '0',
      DRAIN_DELAY: '0',
      PROCESSES,
    });
    try {
      const { availability } = clientsOf(service).grpc;
      const metric = async (name: string) => {
        const text = await (await fetch(`http://127.0.0.1:${service.metricsPort}/metrics`)).text();
        return Number(
          text
            .split('\n')
            .find((one) => one.startsWith(`${name} `))
            ?.split(' ')[1] ?? 0,
        );
      };
      const search = () => availability.searchDoctors({ query: uuid() });
      await eventually(async () => (await metric('db_replica_usable')) === 1);
      await service.wrote('lists and reports are read from the replica');
      await search();
      expect(await metric('db_replica_reads_total{at="replica"}')).toBe(1);
      await standby.stop();
      await search();
      await search();
      expect(await metric('db_replica_usable')).toBe(0);
      expect(await metric('db_replica_reads_total{at="database"}')).toBe(2);
      expect(service.output()).toContain("the replica can't be used");
      await standby.start();
      await eventually(async () => (await metric('db_replica_usable')) === 1);
      service.kill('SIGTERM');
      expect((await service.ended).code).toBe(0);
    } finally {
      service.kill('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    }
  },
);
