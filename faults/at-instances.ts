import { type BothClients, clientsOf } from '../test/support/process-client.ts';
import type { Service } from '../test/support/process-service.ts';
import { lookBack } from './bookers.ts';
import { type Clinic, openClinic } from './clinic.ts';
import type { Report, Stage } from './drill.ts';
import { poolsMustBeFull } from './pools.ts';

/** Instances without a load. */
export interface Bench {
  readonly clinic: Clinic;
  readonly services: readonly Service[];
  /** Clients of each. */
  readonly clients: readonly BothClients[];
}

/** What came of it. */
export interface Shown {
  /** Ids of the bookings that a caller was told of. */
  readonly booked: readonly string[];
  readonly recoveryMs?: number;
  readonly notes?: readonly string[];
}

/** Runs `drill` at `count` instances and then looks at what must hold after everything. */
export async function atInstances(
  stage: Stage,
  count: number,
  drill: (bench: Bench) => Promise<Shown>,
): Promise<Report> {
  const clinic = await openClinic(stage);
  try {
    const services = await Promise.all(Array.from({ length: count }, () => clinic.start()));
    const { booked, ...shown } = await drill({ clinic, services, clients: services.map(clientsOf) });
    const report = await lookBack(
      clinic,
      booked.map((bookingId) => ({ bookingId })),
    );
    await nobodyMayHaveDeadlocked(stage, clinic);
    await poolsMustBeFull(clinic, services);
    return { ...report, ...shown };
  } finally {
    await clinic.close();
  }
}

/** Deadlocks are tried again, so callers don't see them; but where locks are always taken in the same order there are none. */
async function nobodyMayHaveDeadlocked({ postgres }: Stage, { database }: Clinic): Promise<void> {
  const [found] = await postgres.query(`SELECT deadlocks::int FROM pg_stat_database WHERE datname = '${database}'`);
  if (found?.deadlocks) throw new Error(`${found.deadlocks} deadlocks`);
}
