import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { BookingService } from '../gen/amrutam/booking/v1/booking_pb.ts';
import { sql } from '../src/db/sql.ts';
import { query as sqlQuery } from './support/calls.ts';
import { openSlots, type Person, people, person } from './support/people.ts';
import { clientsOf, outcomeOf, tally } from './support/process-client.ts';
import { endProcesses, type Service, startService } from './support/process-service.ts';
import { hasPrometheus, type Prometheus, type Sample, startPrometheus } from './support/prometheus.ts';
import { startServer, type TestServer } from './support/server.ts';

/** How many bookings are made at each of the two instances, and how many callers lose the race for one of those slots. */
const [BOOKED, LOST] = [12, 5];
/** Long enough for several scrapes, a second apart. */
const SCRAPES_MS = 4_000;

/** What is there only where backups are: test/restore.test.ts looks at that. */
const OF_BACKUPS = /\b(backup|wal|barman)_/;
/** None is sent; but what would be counted is there. */
const MAIL = { SMTP_URL: 'smtp://127.0.0.1:1', MAIL_FROM: 'no-reply@clinic.example' };

let server: TestServer; // prepares; the calls go to the instances
let services: Service[];
let [doctor, outsider] = [] as unknown as [Person, Person];
let patients: Person[];

beforeAll(async () => {
  server = await startServer();
  [doctor, outsider] = [await person(server, 'DOCTOR'), await person(server, 'PATIENT')];
  patients = await people(server, 'PATIENT', LOST);
  const given = { DATABASE_URL: server.url, JWT_KEYS_FILE: server.keysFile, POOL_WAIT_MS: '1000', ...MAIL };
  services = await Promise.all([
    startService({ ...given, INSTANCE: 'single', DATABASE_POOL: '2' }),
    // No standby, so that its replica is never used.
    startService({ ...given, INSTANCE: 'twin', PROCESSES: '2', DATABASE_REPLICA_URL: server.url }),
  ]);
}, 120_000);

afterAll(async () => {
  endProcesses();
  await server?.stop();
});

const metricsOf = async ({ metricsPort }: Service) => (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();

/** The value of a series as it is written, 0 when it isn't. */
async function valueAt(service: Service, series: string): Promise<number> {
  const line = (await metricsOf(service)).split('\n').find((one) => one.startsWith(`${series} `));
  return Number(line?.split(' ').at(-1) ?? 0);
}

const booked = (service: Service) => valueAt(service, 'bookings_total{outcome="booked",reason=""}');

async function until(there: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 20_000; !(await there()); await sleep(100))
    if (Date.now() > end) throw new Error('it did not come to that');
}

let hours = 0;
/** Bookings over both protocols, on several connections; answers how many were acknowledged. */
async function book(service: Service, count: number): Promise<number> {
  hours += 24;
  const slots = await openSlots(server, doctor.id, { count, inMinutes: hours * 60 });
  const outcomes = [];
  for (const [i, { id: slotId }] of slots.entries()) {
    const clients = clientsOf(service).turn(i);
    const request = { requestId: randomUUID(), slotId };
    outcomes.push(await outcomeOf(outsider, (options) => clients.booking.bookSlot(request, options)));
  }
  return tally(outcomes).OK ?? 0;
}

describe('one right answer at the port', () => {
  test('of an instance with two processes: what both have counted', async () => {
    const [, twin] = services as [Service, Service];
    const before = await booked(twin);
    expect(await book(twin, 8)).toBe(8);
    expect((await booked(twin)) - before).toBe(8);
    const answers = await Promise.all(Array.from({ length: 20 }, () => booked(twin)));
    expect(new Set(answers)).toEqual(new Set([before + 8]));
  });

  test('also when one of them is killed, and when one ends in good order', async () => {
    const [, twin] = services as [Service, Service];
    const before = await booked(twin);
    for (const [signal, replacements] of [
      ['SIGKILL', 1],
      ['SIGTERM', 2],
    ] as const) {
      const pids = [...twin.output().matchAll(/"instance":"twin-\d","pid":(\d+),"msg":"a process has started"/g)];
      process.kill(Number(pids.at(-1)?.[1]), signal);
      for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(100)) {
        expect(await booked(twin)).toBe(before);
        const taken = twin.output().split('another process has taken its place').length - 1;
        if (taken === replacements) break;
      }
      expect(await valueAt(twin, 'process_replacements_total')).toBe(replacements);
    }
    expect(await book(twin, 2)).toBe(2);
    expect(await booked(twin)).toBe(before + 2);
  }, 60_000);

  test('of what clients send nothing gets into it: no id, no method of their own, no new series', async () => {
    const [single] = services as [Service];
    // But for Node's own: a kind of garbage collection may come for the first time meanwhile.
    const lines = (text: string) => text.split('\n').filter((line) => !line.startsWith('nodejs_'));
    const series = (text: string) => lines(text).map((line) => line.slice(0, line.lastIndexOf(' ')));
    await rpc(single, '/amrutam.booking.v1.BookingService/Zqxjkv0');
    await sleep(100);
    const before = new Set(series(await metricsOf(single)));
    for (let i = 1; i <= 20; i++) {
      await rpc(single, `/amrutam.booking.v1.BookingService/Zqxjkv${i}`);
      await rpc(single, `/zqxjkv.v${i}.Service/Method`);
      await fetch(`http://127.0.0.1:${single.httpPort}/zqxjkv${i}/Method`, { method: 'POST', body: '{}' });
    }
    const after = await metricsOf(single);
    // A first collection of garbage of a kind begins a series, too.
    const ours = series(after).filter((one) => !one.startsWith('nodejs_gc_'));
    expect(ours.filter((one) => !before.has(one))).toEqual([]);
    for (const text of ['zqxjkv', outsider.id, outsider.email, doctor.id, '127.0.0.1'])
      expect(after).not.toMatch(new RegExp(text, 'i'));
  });
});

/** A call of a method that there may not be. */
function rpc({ grpcPort }: Service, path: string): Promise<void> {
  return new Promise((resolve) => {
    const session = connect(`http://127.0.0.1:${grpcPort}`);
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' });
    stream
      .on('error', () => {})
      .on('close', () => {
        session.close();
        resolve();
      });
    stream.resume().end(Buffer.alloc(5));
  });
}

(hasPrometheus ? describe : describe.skip)(
  'a Prometheus with the delivered configuration scrapes two instances',
  () => {
    let prometheus: Prometheus;
    let acknowledged = 0;
    let panels: { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];

    beforeAll(async () => {
      await sqlQuery(server, sql`UPDATE job SET succeeded_at = now()`);
      panels = JSON.parse(await readFile('deploy/grafana/dashboards/amrutam.json', 'utf8')).panels;
      const targets = services.map(({ metricsPort }) => `127.0.0.1:${metricsPort}`);
      const before = await Promise.all(services.map(booked));
      prometheus = await startPrometheus(targets);
      await trouble(services[0] as Service);
      await sleep(1_500);
      for (const service of services) acknowledged += await book(service, BOOKED);
      await trouble(services[0] as Service);
      acknowledged += before.reduce((a, b) => a + b, 0);
      await sleep(SCRAPES_MS);
    }, 90_000);

    afterAll(() => prometheus?.stop());

    /** Whatever can go wrong for callers goes wrong here. */
    async function trouble(service: Service): Promise<void> {
      const { grpc, json } = clientsOf(service);
      hours += 24;
      const [slot] = await openSlots(server, doctor.id, { inMinutes: hours * 60 });
      const race = { requestId: randomUUID(), slotId: slot?.id ?? '' };
      acknowledged += (await outcomeOf(outsider, (options) => grpc.booking.bookSlot(race, options))).answer ? 1 : 0;
      await json.booking.bookSlot(race, outsider); // again: replayed
      for (const patient of patients)
        expect(
          await outcomeOf(patient, (o) => json.booking.bookSlot({ requestId: randomUUID(), slotId: race.slotId }, o)),
        ).toMatchObject({ reason: 'SLOT_TAKEN' });
      await outcomeOf({}, (o) => json.auth.logIn({ email: outsider.email, password: 'not my password at all' }, o));
      for (let i = 0; i < 10; i++) await grpc.availability.listSlots({ doctorId: doctor.id });
      await rpc(service, '/amrutam.booking.v1.BookingService/NoSuchMethod');
      // Two connections are held up, and who waits for one is told that there is too much to do.
      const locker = new pg.Client(server.url);
      await locker.connect();
      await locker.query('BEGIN; LOCK TABLE booking IN ACCESS EXCLUSIVE MODE');
      const waiting = [outsider, ...patients].map((patient) =>
        outcomeOf({ ...patient, timeoutMs: 3_000 }, (o) => grpc.booking.listBookings({}, o)),
      );
      await sleep(2_000);
      await locker.query('ROLLBACK');
      await locker.end();
      expect(tally(await Promise.all(waiting))).toHaveProperty('OVERLOADED');
    }

    const one = async (expression: string) => {
      const samples = await prometheus.query(expression);
      expect({ expression, samples: samples.length }).toEqual({ expression, samples: 1 });
      return (samples[0] as Sample).value;
    };

    test('latency: how long bookings take', async () => {
      const bookSlot = `${BookingService.typeName}/BookSlot`;
      const seconds = await one(
        `histogram_quantile(0.99, sum by (le) (rate(rpc_server_duration_seconds_bucket{method="${bookSlot}"}[1m])))`,
      );
      expect(seconds).toBeGreaterThan(0.0005);
      expect(seconds).toBeLessThan(5);
    });

    test('booking success rate: of both instances together, what was acknowledged, refused and failed', async () => {
      expect(await one('sum(bookings_total{outcome="booked"})')).toBe(acknowledged);
      expect(await one('sum(bookings_total{outcome="refused",reason="SLOT_TAKEN"})')).toBe(2 * LOST);
      expect(await one('sum(bookings_total{outcome="replayed"})')).toBe(2);
      expect(await one('1 - sum(bookings_total{outcome="failed"}) / sum(bookings_total)')).toBe(1);
    });

    test('error frequency: calls that failed, by code', async () => {
      const failed = await one('sum(rpc_server_calls_total{code="UNAVAILABLE",method=~"amrutam.*"})');
      expect(failed).toBe(await one('sum(rpc_refusals_total{reason="OVERLOADED"})'));
      expect(failed).toBeGreaterThanOrEqual(2);
    });

    test('uptime: since when, and whether', async () => {
      expect(await one('sum(up{job="amrutam"})')).toBe(2);
      expect(await one('min(ready)')).toBe(1);
      for (const { value } of await prometheus.query('time() - process_start_time_seconds{job="amrutam"}')) {
        expect(value).toBeGreaterThan(SCRAPES_MS / 1000);
        expect(value).toBeLessThan(240);
      }
    });

    test('every panel of the dashboard shows something', async () => {
      const queries = panels.flatMap(({ title, targets = [] }) =>
        targets.map(
          ({ expr }) => [title, expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*')] as const,
        ),
      );
      expect(queries.length).toBeGreaterThan(30);
      const empty = [];
      for (const [title, expression] of queries) {
        if (OF_BACKUPS.test(expression)) continue;
        const values = (await prometheus.query(expression)).map(({ value }) => value);
        if (values.length === 0 || values.every(Number.isNaN)) empty.push([title, expression]);
      }
      expect(empty).toEqual([]);
    });

    test('what alerts and panels name is there, and no alert’s rule fails', async () => {
      type Rule = { name: string; query: string; health: string; lastError?: string };
      const { groups } = await prometheus.get<{ groups: { rules: Rule[] }[] }>('rules');
      const rules = groups.flatMap((group) => group.rules);
      expect(rules.length).toBeGreaterThan(10);
      expect(rules.filter(({ health }) => health !== 'ok')).toEqual([]);
      const known = new Set(await prometheus.get<string[]>('label/__name__/values'));
      const used = [
        ...rules.map(({ query }) => query),
        ...panels.flatMap(({ targets = [] }) => targets.map((t) => t.expr)),
      ];
      const names = used.flatMap((text) => text.match(/\b[a-z_]+(?=\{)/g) ?? []);
      expect([...new Set(names)].filter((name) => !known.has(name) && !OF_BACKUPS.test(name))).toEqual([]);
    });

    test('the first failures of an instance are a rate, and an alert', async () => {
      const fresh = await startService({
        DATABASE_URL: server.url,
        JWT_KEYS_FILE: server.keysFile,
        DATABASE_POOL: '2',
        POOL_WAIT_MS: '1000',
      });
      const seen = await startPrometheus([`127.0.0.1:${fresh.metricsPort}`], { hasty: true });
      try {
        await until(async () => (await seen.query('rpc_server_calls_total')).length > 0);
        const locker = new pg.Client(server.url);
        await locker.connect();
        await locker.query('BEGIN; LOCK TABLE booking IN ACCESS EXCLUSIVE MODE');
        const { grpc } = clientsOf(fresh);
        const waiting = [outsider, ...patients].map((patient) =>
          outcomeOf(patient, (o) => grpc.booking.listBookings({}, o)),
        );
        await sleep(2_000);
        await locker.query('ROLLBACK');
        await locker.end();
        const { OVERLOADED } = tally(await Promise.all(waiting));
        expect(OVERLOADED).toBeGreaterThan(0);
        const most = (OVERLOADED as number) * 0.9;
        for (const counted of ['rpc_server_calls_total{code="UNAVAILABLE"}', 'rpc_refusals_total{reason="OVERLOADED"}'])
          await until(async () => ((await seen.query(`sum(increase(${counted}[1m]))`))[0]?.value ?? 0) > most);
        await until(async () => (await seen.query('ALERTS{alertname="CallsFail",severity="page"}')).length === 1);
      } finally {
        await seen.stop();
        fresh.kill('SIGKILL');
      }
    }, 60_000);

    test('an instance that is killed is missed within seconds', async () => {
      services[0]?.kill('SIGKILL');
      await services[0]?.ended;
      await sleep(2_500);
      expect(await one('sum(up{job="amrutam"})')).toBe(1);
      const [missed] = await prometheus.query('ALERTS{alertname="InstanceDown"}');
      expect(missed?.labels).toMatchObject({ alertstate: 'pending', severity: 'page' });
    });
  },
);
