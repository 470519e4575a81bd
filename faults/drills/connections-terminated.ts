import { setTimeout as sleep } from 'node:timers/promises';
import type { Drill } from '../drill.ts';
import { watchHealth } from '../health-watch.ts';
import { underLoad } from '../under-load.ts';

const TIMES = 6;
const RECOVERY_MS = 5_000;

export const connectionsTerminated: Drill = {
  name: 'connections-terminated',
  story: 'pg_terminate_backend on every connection of two instances, six times, while 16 patients book',
  breaks: [
    {
      file: 'src/db/pool.ts',
      from: "client.on('error', (error) => {",
      to: "client.on('failure' as 'error', (error) => {",
      means: 'a connection that breaks at work ends the process',
    },
  ],
  run: (stage) =>
    underLoad(stage, {}, async ({ clinic, services, bookers }) => {
      const health = watchHealth(services);
      let recoveryMs = 0;
      let ended = 0;
      for (let i = 0; i < TIMES; i++) {
        const terminated = await stage.postgres.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${clinic.database}' AND application_name LIKE 'amrutam %'`,
        );
        ended += terminated.length;
        recoveryMs = Math.max(recoveryMs, await bookers.servedAfter(performance.now(), RECOVERY_MS));
        await sleep(500);
      }
      await health.stop();
      return { recoveryMs, notes: [`${ended} connections ended`] };
    }),
};
