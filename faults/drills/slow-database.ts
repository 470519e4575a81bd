import { setTimeout as sleep } from 'node:timers/promises';
import type { Drill } from '../drill.ts';
import { watchHealth } from '../health-watch.ts';
import { underLoad } from '../under-load.ts';

/** Milliseconds in each direction: half a second for a question and its answer. */
const ONE_WAY_MS = 250;
const SLOW_MS = 12_000;
const RECOVERY_MS = 5_000;

export const slowDatabase: Drill = {
  name: 'slow-database',
  story: 'each answer of the database takes half a second longer for 12 s, while 16 patients book',
  breaks: [
    {
      file: 'src/db/orm.ts',
      from: 'connectionTimeoutMillis: poolWaitMs,',
      to: 'connectionTimeoutMillis: 400,',
      means: 'a connection must be made within 0.4 s',
    },
  ],
  run: (stage) =>
    underLoad(stage, {}, async ({ clinic, services, bookers }) => {
      const health = watchHealth(services);
      const before = bookers.acknowledged.length;
      const refusedBefore = refused();
      clinic.proxy.cut(); // so that slow connections have to be made, too
      clinic.proxy.delay(ONE_WAY_MS);
      await sleep(SLOW_MS);
      const booked = bookers.acknowledged.length - before;
      const times = refused() - refusedBefore;
      clinic.proxy.delay(0);
      const recoveryMs = await bookers.servedAfter(performance.now(), RECOVERY_MS);
      await health.stop();
      // Five round trips each: 16 patients could make five each, on a machine that does nothing else.
      if (booked < 8) throw new Error(`only ${booked} bookings were made in ${SLOW_MS / 1_000} s`);
      return { recoveryMs, notes: [`${booked} booked while it was slow, ${times} refused`] };

      function refused(): number {
        return bookers.outcomes.filter(({ reason }) => reason !== 'OK').length;
      }
    }),
};
