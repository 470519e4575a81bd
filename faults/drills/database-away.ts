import { setTimeout as sleep } from 'node:timers/promises';
import { clientsOf } from '../../test/support/process-client.ts';
import { startAsking } from '../asking.ts';
import type { Drill } from '../drill.ts';
import { watchHealth } from '../health-watch.ts';
import { underLoad } from '../under-load.ts';

const AWAY_MS = 8_000;
const FAST_MS = 1_000;
const RECOVERY_MS = 5_000;
/** A busy machine answers probes late. */
const READY_MS = 15_000;

export const databaseAway: Drill = {
  name: 'database-away',
  story: 'every connection breaks and new ones are refused for 8 s, while 16 patients book and others ask',
  breaks: [
    {
      file: 'src/db/database-error.ts',
      from: "if (isGone(error)) return fault('DATABASE_DOWN',",
      to: "if (isGone(error)) return fault('OVERLOADED',",
      means: 'callers are told that there is too much to do',
    },
    {
      file: 'src/db/presence.ts',
      from: "if (state === 'away') throw why;",
      to: "if (state === 'away') return new Promise(() => {});",
      means: 'callers are left waiting for a database that is away',
    },
  ],
  run: (stage) =>
    underLoad(stage, {}, async ({ clinic, services, bookers }) => {
      const health = watchHealth(services);
      const clients = services.map(clientsOf).flatMap(({ grpc, json }) => [grpc, json]);
      const asking = await startAsking(clinic, clients);
      await sleep(500);
      clinic.proxy.refuse();
      clinic.proxy.cut();
      const awayAt = performance.now();
      await sleep(AWAY_MS);
      clinic.proxy.accept();
      const backAt = performance.now();
      const recoveryMs = await bookers.servedAfter(backAt, RECOVERY_MS);
      const readyMs = await health.readyAfter(backAt, READY_MS);
      stage.say(`back: booked ${recoveryMs.toFixed(0)} ms later, all ready ${readyMs.toFixed(0)} ms later`);
      await health.stop(true);
      const asked = (await asking.stop()).filter(({ at }) => at > awayAt + 100 && at < backAt - 100);
      const wrong = asked.filter(({ reason, retry }) => reason !== 'DATABASE_DOWN' || !retry);
      const late = asked.filter(({ ms }) => ms > FAST_MS);
      if (wrong.length || asked.length < 20)
        throw new Error(`${wrong.length} of ${asked.length} were told otherwise: ${wrong[0]?.reason}`);
      if (late.length > asked.length / 5) throw new Error(`${late.length} of ${asked.length} were told late`);
      const slowest = Math.max(...asked.map(({ ms }) => ms));
      return { recoveryMs, notes: [`${asked.length} told DATABASE_DOWN, the slowest after ${slowest.toFixed(0)} ms`] };
    }),
};
