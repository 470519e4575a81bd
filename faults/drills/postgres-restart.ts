import { setTimeout as sleep } from 'node:timers/promises';
import { clientsOf } from '../../test/support/process-client.ts';
import { startBookers } from '../bookers.ts';
import { openClinic } from '../clinic.ts';
import type { Drill } from '../drill.ts';
import type { StopMode } from '../postgres.ts';

/** Milliseconds from the database's return to the first booking. */
const RECOVERY_MS = 5_000;

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
  ],
  async run(stage) {
    const clinic = await openClinic(stage);
    try {
      const services = [await clinic.start(), await clinic.start()];
      const clients = services.flatMap((service) => [clientsOf(service).grpc, clientsOf(service).json]);
      const bookers = await startBookers(clinic, { count: 16, clients });
      let recoveryMs = 0;
      for (const mode of ['fast', 'immediate', 'kill'] satisfies StopMode[]) {
        await sleep(2_000);
        stage.say(`${bookers.acknowledged.length} booked; PostgreSQL stops: ${mode}`);
        await stage.postgres.stop(mode);
        await sleep(1_000);
        await stage.postgres.start();
        const servedMs = await bookers.servedAfter(performance.now(), RECOVERY_MS);
        stage.say(`it is back, and the first booking came ${servedMs.toFixed(0)} ms later`);
        recoveryMs = Math.max(recoveryMs, servedMs);
      }
      return { ...(await bookers.stop()), recoveryMs };
    } finally {
      await clinic.close();
    }
  },
};
