import { setTimeout as sleep } from 'node:timers/promises';
import { hasPgbouncer, setForPoolers, startPgbouncer, type TestPgbouncer } from '../../test/support/pgbouncer.ts';
import { clientsOf } from '../../test/support/process-client.ts';
import { startAsking } from '../asking.ts';
import type { Clinic } from '../clinic.ts';
import { type Drill, notRun, type Report, type Stage } from '../drill.ts';
import type { Scene } from '../under-load.ts';
import { underLoad } from '../under-load.ts';

/** Fewer connections to PostgreSQL than the two instances have to PgBouncer. */
const SERVERS = 24;
const PAUSED_MS = 1_500;
const DOWN_MS = 1_000;
const FROZEN_MS = 9_000;
const AWAY_MS = 9_000;
/** Within which somebody has found out that there is no database behind PgBouncer. */
const FOUND_OUT_MS = 5_000;
const FAST_MS = 1_000;
const RECOVERY_MS = 6_000;
const CALM_MS = 1_000;

export const pooler: Drill = {
  name: 'pooler',
  story:
    'PgBouncer in transaction mode reconnects, pauses, is killed, freezes and loses the database, while 16 patients book',
  breaks: [
    {
      file: 'src/db/pool.ts',
      from: "    await client.query('SELECT 1');\n  } catch (error) {",
      to: '  } catch (error) {',
      means: 'a pooler that lets us in is taken for a database',
    },
    {
      file: 'src/db/pooled-client.ts',
      from: 'if (!names.kept()) return this.connection.stream.destroy(new Error(ABANDONED));',
      to: '',
      means: 'cancels are sent through a PgBouncer that they crash (1.18 to 1.20)',
    },
    {
      file: 'src/db/pool.ts',
      from: "pool.on('error', (error) => {",
      to: "pool.on('failure' as 'error', (error) => {",
      means: 'a connection that breaks while it is idle ends the process',
    },
  ],
  async run(stage) {
    if (!hasPgbouncer) return notRun('there is no pgbouncer on the PATH');
    let pgbouncer: TestPgbouncer | undefined;
    const env = async (clinic: Clinic) => {
      await setForPoolers(stage.postgres.url(clinic.database));
      const behind = Object.assign(new URL(stage.postgres.url()), {
        hostname: '127.0.0.1',
        port: `${clinic.proxy.port}`,
      });
      pgbouncer = await startPgbouncer(behind.toString(), { default_pool_size: SERVERS }, stage.root);
      return { DATABASE_URL: pgbouncer.url(clinic.database) };
    };
    try {
      return await underLoad(stage, { pauseMs: 100, env }, (scene) => injure(stage, scene, pgbouncer as TestPgbouncer));
    } finally {
      await pgbouncer?.end();
    }
  },
};

async function injure(
  stage: Stage,
  { bookers, clinic, services }: Scene,
  pgbouncer: TestPgbouncer,
): Promise<Partial<Report>> {
  const [version] = await pgbouncer.command('SHOW VERSION');
  stage.say(`${version?.version}`);
  const back: Record<string, number> = {};
  const served = async (what: string) => {
    back[what] = Math.round(await bookers.servedAfter(performance.now(), RECOVERY_MS));
    stage.say(`${what}: booked ${back[what]} ms later`);
    await sleep(CALM_MS);
  };
  for (let time = 0; time < 3; time++) await pgbouncer.command('RECONNECT').then(() => sleep(300));
  await served('reconnected');
  await pgbouncer.command('PAUSE');
  await sleep(PAUSED_MS);
  await pgbouncer.command('RESUME');
  await served('paused');
  await pgbouncer.kill();
  await sleep(DOWN_MS);
  await pgbouncer.start();
  await served('killed');
  pgbouncer.freeze();
  await sleep(FROZEN_MS);
  pgbouncer.thaw();
  await served('frozen');
  const told = await withoutDatabase(clinic, services);
  await served('without a database');
  return {
    recoveryMs: Math.max(...Object.values(back)),
    notes: [
      `${version?.version}`,
      `back after ms: ${JSON.stringify(back)}`,
      told,
      connections(await pgbouncer.command('SHOW POOLS')),
    ],
  };
}

/** PgBouncer lets everybody in and has no database to give: callers must be told, not left waiting. */
async function withoutDatabase(clinic: Clinic, services: Scene['services']): Promise<string> {
  const asking = await startAsking(
    clinic,
    services.map(clientsOf).flatMap(({ grpc, json }) => [grpc, json]),
  );
  clinic.proxy.freeze();
  const awayAt = performance.now();
  await sleep(AWAY_MS);
  const backAt = performance.now();
  clinic.proxy.thaw();
  const asked = (await asking.stop()).filter(({ at }) => at > awayAt + FOUND_OUT_MS && at < backAt - 100);
  const wrong = asked.filter(({ reason, ms }) => reason !== 'DATABASE_DOWN' || ms > FAST_MS);
  if (wrong.length > asked.length / 10 || asked.length < 20)
    throw new Error(
      `${wrong.length} of ${asked.length} were not told at once: ${wrong[0]?.reason} after ${wrong[0]?.ms.toFixed(0)} ms`,
    );
  return `${asked.length} told DATABASE_DOWN at once`;
}

function connections(pools: readonly Record<string, unknown>[]): string {
  const most = pools.filter(({ database }) => `${database}`.startsWith('drill_'));
  return most
    .map(
      (one) =>
        `${Number(one.cl_active) + Number(one.cl_waiting)} clients on ${Number(one.sv_active) + Number(one.sv_idle) + Number(one.sv_used)} servers`,
    )
    .join();
}
