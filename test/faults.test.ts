import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Clinic, openClinic } from '../faults/clinic.ts';
import type { Drill, Stage } from '../faults/drill.ts';
import { clientGone } from '../faults/drills/client-gone.ts';
import { commitSilent } from '../faults/drills/commit-silent.ts';
import { deadlineOnSlowDatabase } from '../faults/drills/deadline-on-slow-database.ts';
import { drills } from '../faults/drills/index.ts';
import { topology } from '../faults/drills/topology.ts';
import { watchHealth } from '../faults/health-watch.ts';
import { poolsMustBeFull } from '../faults/pools.ts';
import { RetryInfoSchema } from '../gen/google/rpc/error_details_pb.ts';
import { databaseUrl } from './support/database.ts';
import { type Person, people } from './support/people.ts';
import { clientsOf, outcomeOf } from './support/process-client.ts';
import { endProcesses } from './support/process-service.ts';

// All drills run by `npm run faults`. Here are the quick ones that hurt nobody else's database, and what keeps the rest honest.

const ROOT = resolve(import.meta.dirname, '..');
const DRILL_MS = 120_000;

afterAll(endProcesses);

/** The tests' own server, which nobody may stop. */
function stage(): Stage {
  const spared = async () => {
    throw new Error('this server is shared');
  };
  const query = async (text: string, database = 'postgres') => {
    const client = new pg.Client(databaseUrl(database));
    await client.connect();
    try {
      return (await client.query(text)).rows as Record<string, unknown>[];
    } finally {
      await client.end();
    }
  };
  const url = (database = 'postgres') => databaseUrl(database);
  const port = Number(new URL(url()).port || 5432);
  const postgres = { url, port, query, stop: spared, start: spared, end: spared };
  return { say: () => {}, seed: 1, seconds: 1, root: ROOT, postgres };
}

describe('what shows that a drill can fail doesn’t rot', () => {
  test.each(drills.map((drill) => [drill.name, drill] as const))('%s', async (_, { breaks }: Drill) => {
    for (const { file, from, to } of breaks) {
      const text = await readFile(join(ROOT, file), 'utf8');
      expect([file, from, text.split(from).length - 1]).toEqual([file, from, 1]);
      expect(to).not.toBe(from);
    }
  });

  test('each drill has a name of its own', () => {
    const names = drills.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[a-z]+(-[a-z]+)*$/);
  });
});

describe('drills', () => {
  test.each([clientGone, deadlineOnSlowDatabase, commitSilent].map((drill) => [drill.name, drill] as const))(
    '%s',
    async (_, drill) => {
      expect(await drill.run(stage())).toMatchObject({ lost: 0, doubled: 0 });
    },
    DRILL_MS,
  );
});

test(
  'instances behind the balancer of docker-compose.yml come and go, and no call fails',
  async () => {
    const { notRun, ...report } = await topology.run(stage());
    if (notRun) return void process.stderr.write(`NOT TESTED: the balancer, because there is no ${notRun} here.\n`);
    expect(report).toMatchObject({ lost: 0, doubled: 0 });
  },
  DRILL_MS,
);

describe('while the database is away', () => {
  let clinic: Clinic;
  afterAll(() => clinic?.close());

  test(
    'calls are refused at once with DATABASE_DOWN and when to try again; the instance is alive, not ready, and serves by itself when it is back',
    async () => {
      clinic = await openClinic(stage());
      const service = await clinic.start({ DATABASE_POOL: '6' });
      const [patient] = (await people(clinic, 'PATIENT', 1)) as [Person];
      const ask = (count: number) =>
        Promise.all(
          Array.from({ length: count }, (_, i) =>
            outcomeOf(patient, (as) => clientsOf(service).turn(i).booking.listBookings({}, as)),
          ),
        );
      const health = watchHealth([service]);
      clinic.proxy.refuse();
      clinic.proxy.cut();
      await sleep(500);
      const startedAt = performance.now();
      const refused = await ask(40);
      expect(performance.now() - startedAt).toBeLessThan(4_000);
      for (const { reason, error } of refused) {
        expect(reason).toBe('DATABASE_DOWN');
        expect(error?.findDetails(RetryInfoSchema)).toHaveLength(1);
      }
      await sleep(1_500);
      clinic.proxy.accept();
      await health.readyAfter(performance.now(), 10_000);
      await health.stop(true);
      expect((await ask(12)).map(({ reason }) => reason)).toEqual(Array(12).fill('OK'));
      await poolsMustBeFull(clinic, [service], 6);
    },
    DRILL_MS,
  );
});
