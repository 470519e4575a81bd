import { setTimeout as sleep } from 'node:timers/promises';
import { clientsOf } from '../../test/support/process-client.ts';
import { type Asked, startAsking } from '../asking.ts';
import type { Drill } from '../drill.ts';
import { watchHealth } from '../health-watch.ts';
import { underLoad } from '../under-load.ts';

const SILENT_MS = 30_000;
const RECOVERY_MS = 5_000;
/** A busy machine answers probes late. */
const READY_MS = 15_000;
/** The deadline of callers who set none, and what a busy machine adds. */
const LONGEST_MS = 6_500;
/** After this everybody should know that there is no database, and be told so within FAST_MS. */
const KNOWN_MS = 9_000;
const FAST_MS = 1_000;

export const silentDatabase: Drill = {
  name: 'silent-database',
  story:
    'no byte comes from the database for 30 s and no connection breaks; then new ones work and the old never do again',
  breaks: [
    {
      file: 'src/db/pooled-client.ts',
      from: 'answer instanceof Promise && answer !== NOTHING ? this.#bound(answer) : answer',
      to: 'answer',
      means: 'nothing on our side ends a connection that stays silent',
    },
    {
      file: 'src/db/presence.ts',
      from: "if (state === 'away') throw why;",
      to: '',
      means: 'everybody waits for a database that is known to be away',
    },
  ],
  run: (stage) =>
    underLoad(stage, {}, async ({ clinic, services, bookers }) => {
      const health = watchHealth(services);
      const clients = services.map(clientsOf).flatMap(({ grpc, json }) => [grpc, json]);
      const asking = await startAsking(clinic, clients);
      clinic.proxy.freeze();
      const silentAt = performance.now();
      stage.say('silent');
      await sleep(SILENT_MS);
      clinic.proxy.forget();
      clinic.proxy.thaw();
      const backAt = performance.now();
      const recoveryMs = await bookers.servedAfter(backAt, RECOVERY_MS);
      const readyMs = await health.readyAfter(backAt, READY_MS);
      stage.say(`back: booked ${recoveryMs.toFixed(0)} ms later, all ready ${readyMs.toFixed(0)} ms later`);
      await health.stop(true);
      return { recoveryMs, notes: [judged(await asking.stop(), silentAt, backAt)] };
    }),
};

/** Throws when a call lasted longer than its deadline, or when many were left waiting though the silence was known. */
function judged(calls: readonly Asked[], silentAt: number, backAt: number): string {
  const longest = Math.max(...calls.map(({ ms }) => ms));
  if (longest > LONGEST_MS) throw new Error(`a call without a deadline lasted ${longest.toFixed(0)} ms`);
  const known = calls.filter(({ at }) => at > silentAt + KNOWN_MS && at < backAt - FAST_MS);
  const told = known.filter(({ reason, ms, retry }) => reason === 'DATABASE_DOWN' && ms < FAST_MS && retry);
  const share = `${told.length} of ${known.length} told at once`;
  if (told.length < known.length * 0.9) throw new Error(`the database was known to be away, and only ${share}`);
  return `longest call ${longest.toFixed(0)} ms; once it was known, ${share}`;
}
