import { hasPgbouncer, setForPoolers, startPgbouncer, type TestPgbouncer } from '../test/support/pgbouncer.ts';
import type { Bookers } from './bookers.ts';
import type { Clinic } from './clinic.ts';
import { notRun, type Report, type Stage } from './drill.ts';
import { lackingForPatroni, type Patroni, startPatroni, until } from './patroni.ts';
import { scrapedSum } from './scraped.ts';
import { type Scene, underLoad } from './under-load.ts';

/** Milliseconds until a killed or frozen node must be a standby again, with nobody's help. */
export const REJOIN_MS = 90_000;
const REPLAY_MS = 20_000;

/** Three nodes of Patroni and two instances, with patients who book. */
export type PatroniScene = Scene & { readonly patroni: Patroni };

/**
 * Runs `injure` while patients book at instances whose DATABASE_URL is the balancer before three nodes. Afterwards all nodes
 * must work together again and hold the same bookings, besides all that `underLoad` looks at. `pooled` puts PgBouncer between
 * instances and balancer.
 */
export async function atPatroni(
  stage: Stage,
  injure: (scene: PatroniScene) => Promise<Partial<Report>>,
  { pooled = false }: { readonly pooled?: boolean } = {},
): Promise<Report> {
  const lacking =
    lackingForPatroni() ?? (pooled && !hasPgbouncer ? 'pgbouncer (apt-get install pgbouncer)' : undefined);
  if (lacking) return notRun(lacking);
  let pgbouncer: TestPgbouncer | undefined;
  const patroni = await startPatroni(stage.root);
  stage.say(`three nodes work together, ${(await patroni.leader()).name} leads`);
  const env = async ({ database, proxy }: Clinic): Promise<Readonly<Record<string, string>>> => {
    if (!pooled) return { DATABASE_REPLICA_URL: patroni.replicaUrl(database) };
    await setForPoolers(patroni.url(database));
    const leader = Object.assign(new URL(patroni.url()), { port: `${proxy.port}` }).toString();
    pgbouncer = await startPgbouncer(leader, {}, stage.root);
    return { DATABASE_URL: pgbouncer.url(database) };
  };
  try {
    return await underLoad({ ...stage, postgres: patroni }, { pauseMs: 200, env }, async (scene) => {
      const told = await injure({ ...scene, patroni });
      await patroni.whole(REJOIN_MS);
      await nodesMustAgree(patroni, scene.clinic);
      if (!pooled) {
        const { services } = scene;
        const used = async () => (await scrapedSum(services, 'db_replica_usable')) === services.length;
        await until(REPLAY_MS, 'the replicas are not used again', used);
      }
      return told;
    });
  } catch (error) {
    stage.say((error as Error).message); // what goes wrong at the end may take its place
    for (const node of patroni.nodes) stage.say(`${node.name}: ${node.log().split('\n').slice(-12).join('\n    ')}`);
    throw error;
  } finally {
    await pgbouncer?.end();
    await patroni.end();
  }
}

/** Milliseconds of the longest time after `since` in which nobody was told of a booking, and when it ended. */
export function longestGap(
  { acknowledged }: Bookers,
  since: number,
): { readonly ms: number; readonly endedAt: number } {
  const times = [since, ...acknowledged.map(({ at }) => at).filter((at) => at > since)];
  const gaps = times.slice(1).map((at, i) => ({ ms: at - (times[i] as number), endedAt: at }));
  return gaps.reduce((longest, gap) => (gap.ms > longest.ms ? gap : longest), { ms: 0, endedAt: since });
}

/** Each standby must hold every booking of the leader, and none besides. */
async function nodesMustAgree(patroni: Patroni, { database }: Clinic): Promise<void> {
  const leader = await patroni.leader();
  const bookings = async (node: typeof leader) =>
    new Set((await node.query('SELECT id FROM booking', database)).map(({ id }) => id as string));
  for (const standby of patroni.nodes.filter((node) => node !== leader)) {
    const before = await bookings(standby);
    const wanted = await bookings(leader);
    const [now] = await leader.query('SELECT pg_current_wal_lsn() AS lsn');
    await until(REPLAY_MS, `${standby.name} does not follow`, async () => {
      const [replay] = await standby.query(`SELECT pg_last_wal_replay_lsn() >= '${now?.lsn}' AS done`);
      return replay?.done === true;
    });
    const after = await bookings(standby);
    const foreign = [...before].filter((id) => !wanted.has(id)).length;
    const missing = [...wanted].filter((id) => !after.has(id)).length;
    if (foreign || missing) throw new Error(`${standby.name} lacks ${missing} bookings and has ${foreign} of its own`);
  }
}
