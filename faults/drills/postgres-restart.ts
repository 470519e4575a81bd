import { setTimeout as sleep } from 'node:timers/promises';
import type { Drill } from '../drill.ts';
import { watchHealth } from '../health-watch.ts';
import type { StopMode } from '../postgres.ts';
import { underLoad } from '../under-load.ts';

/** Milliseconds from the database's return to the first booking. */
const RECOVERY_MS = 5_000;
/** A busy machine answers probes late. */
const READY_MS = 15_000;

export const postgresRestart: Drill = {
  name: 'postgres-restart',
  story: 'PostgreSQL is stopped - fast, at once, killed - and started again while 16 patients book at two instances',
  breaks: [
    {
      file: 'src/db/transaction.ts',
      from: "throw new Fault('OUTCOME_UNKNOWN',",
      to: "throw new Fault('SLOT_IN_PAST',",
      means: 'a lost COMMIT is told as a refusal',
    },
    {
      file: 'src/db/pool.ts',
      from: "pool.on('error', (error) => {",
      to: "pool.on('failure' as 'error', (error) => {",
      means: 'a connection that breaks while it is idle ends the process',
    },
  ],
  run: (stage) =>
    underLoad(stage, {}, async ({ bookers, services }) => {
      const health = watchHealth(services);
      let recoveryMs = 0;
      for (const mode of ['fast', 'immediate', 'kill'] satisfies StopMode[]) {
        stage.say(`${bookers.acknowledged.length} booked; PostgreSQL stops: ${mode}`);
        await stage.postgres.stop(mode);
        await sleep(1_500);
        await stage.postgres.start();
        const backAt = performance.now();
        const servedMs = await bookers.servedAfter(backAt, RECOVERY_MS);
        const readyMs = await health.readyAfter(backAt, READY_MS);
        stage.say(`it is back: booked ${servedMs.toFixed(0)} ms later, all ready ${readyMs.toFixed(0)} ms later`);
        recoveryMs = Math.max(recoveryMs, servedMs);
        await sleep(1_000);
      }
      await health.stop(true);
      return { recoveryMs };
    }),
};
