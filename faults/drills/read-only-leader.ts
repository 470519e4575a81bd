import { setTimeout as sleep } from 'node:timers/promises';
import type { Drill, Stage } from '../drill.ts';
import { underLoad } from '../under-load.ts';

const READ_ONLY_MS = 3_000;
const RECOVERY_MS = 5_000;

export const readOnlyLeader: Drill = {
  name: 'read-only-leader',
  story: 'the server turns read-only (25006) for 3 s and answers on, while 16 patients book',
  breaks: [
    {
      file: 'src/db/pooled-client.ts',
      from: 'if (isGone(error)) {',
      to: 'if (!error) {',
      means: 'a connection whose server became read-only goes back to the pool',
    },
    {
      file: 'src/db/database-error.ts',
      from: '|08...|25006|',
      to: '|08...|',
      means: 'a read-only server is taken for a bug of ours',
    },
  ],
  run: (stage) =>
    underLoad(stage, {}, async ({ clinic, bookers }) => {
      const connections = async () =>
        (
          await stage.postgres.query(
            `SELECT pid FROM pg_stat_activity WHERE datname = '${clinic.database}' AND application_name LIKE 'amrutam %'`,
          )
        ).map(({ pid }) => pid);
      const before = await connections();
      try {
        await turn(stage, 'SET default_transaction_read_only = on');
        await sleep(READ_ONLY_MS);
        const kept = (await connections()).filter((pid) => before.includes(pid));
        if (kept.length)
          throw new Error(`${kept.length} of ${before.length} connections to the old leader are still used`);
      } finally {
        await turn(stage, 'RESET default_transaction_read_only');
      }
      const recoveryMs = await bookers.servedAfter(performance.now(), RECOVERY_MS);
      return { recoveryMs, notes: [`all ${before.length} connections were given up`] };
    }),
};

/** Open sessions follow when the server has read it again. */
async function turn({ postgres }: Stage, change: string): Promise<void> {
  await postgres.query(`ALTER SYSTEM ${change}`);
  await postgres.query('SELECT pg_reload_conf()');
}
