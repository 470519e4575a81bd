import { setTimeout as sleep } from 'node:timers/promises';
import { clientsOf } from '../../test/support/process-client.ts';
import { type DatabaseProxy, startDatabaseProxy } from '../../test/support/process-proxy.ts';
import { type Bookers, startBookers } from '../bookers.ts';
import { openClinic } from '../clinic.ts';
import type { Drill } from '../drill.ts';
import { poolsMustBeFull } from '../pools.ts';
import { seededRandom } from '../seeded-random.ts';

const CUTS = 60;
const RECOVERY_MS = 5_000;

export const commitCut: Drill = {
  name: 'commit-cut',
  story:
    'sixty times the connection is cut after COMMIT was sent, before or after the database had it, while 12 patients book',
  breaks: [
    {
      file: 'src/db/transaction.ts',
      from: 'if (isDefinite(error)) throw error;',
      to: 'if (!isDefinite(error)) return;',
      means: 'a lost COMMIT counts as done',
    },
    {
      file: 'src/db/transaction.ts',
      from: "throw new Fault('OUTCOME_UNKNOWN',",
      to: "throw new Fault('SLOT_TAKEN',",
      means: 'a lost COMMIT counts as refused',
    },
  ],
  async run(stage) {
    const clinic = await openClinic(stage);
    const proxy = await startDatabaseProxy(stage.postgres.url(clinic.database));
    let bookers: Bookers | undefined;
    try {
      const service = await clinic.start({ DATABASE_URL: proxy.url });
      const { grpc, json } = clientsOf(service);
      bookers = await startBookers(clinic, { count: 12, clients: [grpc, json], pauseMs: 20 });
      const cut = cutCommits(proxy, seededRandom(stage.seed));
      const delivered = await Promise.race([cut, bookers.failed]);
      const recoveryMs = await bookers.servedAfter(performance.now(), RECOVERY_MS);
      const report = await bookers.stop();
      if (!bookers.outcomes.some(({ reason }) => reason === 'OUTCOME_UNKNOWN'))
        throw new Error('nobody was told that the outcome is unknown');
      await poolsMustBeFull(clinic, [service]);
      const notes = [`${CUTS} cut, of which ${delivered} had reached the database`, ...(report.notes ?? [])];
      return { ...report, recoveryMs, notes };
    } finally {
      bookers?.abandon();
      await proxy.close();
      await clinic.close();
    }
  },
};

/** Answers how many of them the database had. */
async function cutCommits(proxy: DatabaseProxy, random: () => number): Promise<number> {
  let delivered = 0;
  for (let i = 0; i < CUTS; i++) {
    const commit = await proxy.nextCommit();
    if (random() < 0.5) {
      await commit.deliver();
      delivered++;
    }
    commit.cut();
    await sleep(random() * 100);
  }
  return delivered;
}
