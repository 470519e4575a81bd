import { setTimeout as sleep } from 'node:timers/promises';
import { type Drill, notRun } from '../drill.ts';
import { type Replicated, serverPrograms, startReplicated } from '../replicated.ts';
import { underLoad } from '../under-load.ts';

/**
 * Milliseconds from the switch to the first booking at the new leader. All patients may be in a COMMIT that hangs, as the
 * old leader has no standby any more: then the first to ask again does so after its deadline of 5 s.
 */
const RECOVERY_MS = 12_000;
/** Until nobody is connected to the old leader any more: COMMITs that hang there are given up. */
const LEFT_MS = 15_000;

export const failover: Drill = {
  name: 'failover',
  story: 'a synchronous standby is promoted while 16 patients book, and the old leader, still up, turned read-only',
  breaks: [
    {
      file: 'src/db/pooled-client.ts',
      from: 'if (isGone(error)) {',
      to: 'if (!error) {',
      means: 'a connection whose server became read-only goes back to the pool',
    },
  ],
  async run(stage) {
    const programs = serverPrograms();
    if (!programs) return notRun("PostgreSQL's server programs with pg_basebackup (apt-get install postgresql)");
    const postgres = await startReplicated(programs);
    try {
      return await underLoad({ ...stage, postgres }, {}, async ({ bookers }) => {
        stage.say(`${bookers.acknowledged.length} booked; the standby is promoted`);
        await postgres.failOver();
        const switchedAt = performance.now();
        await postgres.queryOld(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'drill'",
        );
        const recoveryMs = await bookers.servedAfter(switchedAt, RECOVERY_MS);
        stage.say(`booked at the new leader ${recoveryMs.toFixed(0)} ms later`);
        const leftMs = await deserted(postgres, switchedAt);
        return { recoveryMs, notes: [`the old leader was left by all after ${leftMs.toFixed(0)} ms`] };
      });
    } finally {
      await postgres.end();
    }
  },
};

async function deserted({ queryOld }: Replicated, since: number): Promise<number> {
  for (;;) {
    const there = await queryOld(
      "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'amrutam %' AND wait_event IS DISTINCT FROM 'SyncRep'",
    );
    const ms = performance.now() - since;
    if (there.length === 0) return ms;
    if (ms > LEFT_MS) throw new Error(`${there.length} connections to the old leader after ${ms.toFixed(0)} ms`);
    await sleep(100);
  }
}
