import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Server, startCluster } from '../../test/support/cluster.ts';
import { openSlots, type Person, person } from '../../test/support/people.ts';
import { type Clients, clientsOf, outcomeOf } from '../../test/support/process-client.ts';
import type { Service } from '../../test/support/process-service.ts';
import type { Clinic } from '../clinic.ts';
import type { Drill, Report } from '../drill.ts';
import { startProxy, type TcpProxy } from '../proxy.ts';
import { scrapedSum } from '../scraped.ts';
import { type Scene, underLoad } from '../under-load.ts';

const TROUBLE_MS = 4_000;
const CALM_MS = 1_500;
/** Reads that the replica must have answered in between. */
const FEWEST = 20;
const WELL_MS = 20_000;
/** Slots of the one who books and looks, at each instance. */
const SLOTS = 450;

export const replicaTroubled: Drill = {
  name: 'replica-troubled',
  story:
    'the replica that listings are read from stops replaying, is slow, silent, gone and started again, while 8 patients book and two look at once at what they have booked',
  breaks: [
    {
      file: 'src/db/replica.ts',
      from: 'if (behind <= 0 && marked) return;',
      to: 'if (marked) return;',
      means: 'a replica is asked however far it lags behind',
    },
    {
      file: 'src/db/replica.ts',
      from: 'let timer = setTimeout(end, REACH_MS).unref();',
      to: 'let timer = setTimeout(end, 1000 * REACH_MS).unref();',
      means: 'a read waits for a silent replica',
    },
  ],
  async run(stage) {
    const cluster = await startCluster();
    let line: TcpProxy | undefined;
    try {
      const standby = await cluster.leader.standby();
      const through = await startProxy(() => standby.port);
      line = through;
      const env = ({ database }: Clinic) => ({
        DATABASE_REPLICA_URL: Object.assign(new URL(standby.url(database)), { port: `${through.port}` }).toString(),
      });
      return await underLoad(
        { ...stage, postgres: cluster.leader },
        { patients: 8, pauseMs: 100, env },
        async (scene) => trouble(scene, { standby, line: through, say: stage.say }),
      );
    } finally {
      line?.close();
      await cluster.end();
    }
  },
};

interface Place {
  readonly standby: Server;
  readonly line: TcpProxy;
  say(line: string): void;
}

async function trouble({ clinic, services }: Scene, { standby, line, say }: Place): Promise<Partial<Report>> {
  await allRead(services);
  const lookers = await Promise.all(services.map((service) => startLooker(clinic, service)));
  const troubles: readonly (readonly [what: string, begin: () => unknown, end: () => unknown])[] = [
    [
      'stops replaying',
      () => standby.query('SELECT pg_wal_replay_pause()'),
      () => standby.query('SELECT pg_wal_replay_resume()'),
    ],
    ['is 60 ms away', () => line.delay(30), () => line.delay(0)],
    ['is silent', () => line.freeze(), () => line.thaw()],
    ['is gone', () => standby.stop(), () => standby.start()],
  ];
  for (const [what, begin, end] of troubles) {
    say(`the replica ${what}`);
    await begin();
    await sleep(TROUBLE_MS);
    await end();
    await allRead(services);
    await sleep(CALM_MS);
  }
  const looks = await Promise.all(lookers.map((looker) => looker.stop()));
  const there = await scrapedSum(services, 'db_replica_reads_total{at="replica"}');
  const elsewhere = await scrapedSum(services, 'db_replica_reads_total{at="database"}');
  if (there < FEWEST) throw new Error(`only ${there} reads were answered by the replica`);
  const slowest = Math.max(...looks.map(({ slowestMs }) => slowestMs));
  if (slowest > SLOWEST_MS) throw new Error(`a listing took ${slowest.toFixed(0)} ms`);
  return {
    notes: [
      `${looks.reduce((sum, { count }) => sum + count, 0)} listings looked at right after a booking, each showed it; the slowest took ${slowest.toFixed(0)} ms`,
      `${there} reads answered by the replica, ${elsewhere} by the database`,
    ],
  };
}

/** A read that finds the replica silent gives it up after half a second, one that it falls silent on after a second; the machine is busy. */
const SLOWEST_MS = 3_000;

/** Resolves when all instances read from the replica. */
async function allRead(services: readonly Service[]): Promise<void> {
  const end = Date.now() + WELL_MS;
  while ((await scrapedSum(services, 'db_replica_usable')) < services.length) {
    if (Date.now() > end) throw new Error('the replica is well, and not used');
    await sleep(50);
  }
}

interface Looked {
  readonly count: number;
  readonly slowestMs: number;
}

/** Books one slot after the other at `service`, and looks right after each whether its listing still shows the slot. */
async function startLooker(clinic: Clinic, service: Service): Promise<{ stop(): Promise<Looked> }> {
  const [patient, doctor] = [await person(clinic, 'PATIENT'), await person(clinic, 'DOCTOR')];
  const slots = await openSlots(clinic, doctor.id, { count: SLOTS, minutes: 5 });
  const clients = clientsOf(service).grpc;
  let stopped = false;
  const looking = (async () => {
    let [count, slowestMs] = [0, 0];
    for (const { id } of slots) {
      if (stopped) return { count, slowestMs };
      if (!(await book(clients, patient, id))) continue;
      const askedAt = performance.now();
      const shown = await clients.availability.listSlots({ doctorId: doctor.id, pageSize: 250 });
      slowestMs = Math.max(slowestMs, performance.now() - askedAt);
      count += 1;
      if (shown.slots.some((slot) => slot.id === id)) throw new Error('a listing shows a slot that was booked before');
      await sleep(50);
    }
    throw new Error('the slots were too few for this drill');
  })();
  looking.catch(() => {});
  return {
    stop() {
      stopped = true;
      return looking;
    },
  };
}

async function book({ booking }: Clients, patient: Person, slotId: string): Promise<boolean> {
  const request = { requestId: randomUUID(), slotId };
  const { reason } = await outcomeOf(patient, (as) => booking.bookSlot(request, as));
  return reason === 'OK';
}
