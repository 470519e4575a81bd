import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from '../../src/db/sql.ts';
import { forkFor, rows } from '../../src/db/statement.ts';
import { openSlots, people } from '../../test/support/people.ts';
import { clientsOf, outcomeOf } from '../../test/support/process-client.ts';
import type { Service } from '../../test/support/process-service.ts';
import { lookBack } from '../bookers.ts';
import { type Clinic, openClinic } from '../clinic.ts';
import { type CountedCalls, countedByWay, failed, startCountedCalls } from '../counted-calls.ts';
import type { Drill, Report, Stage } from '../drill.ts';
import { startInItsPlace, stopInstance } from '../replace-instance.ts';
import { knowingWays } from '../ways.ts';

const INSTANCES = 3;
/** A grpc-js client waits for a second, at most 1.2 s, before it tries an address again. */
const BACK_MS = 1_500;
const SETTINGS = { DRAIN_DELAY: '1' };
/** Longer than the delay; shorter than what a booking waits. */
const LONG_CALL_MS = 1_500;

export const rollingRestartDirect: Drill = {
  name: 'rolling-restart-direct',
  story:
    'three instances, known to clients without a balancer, are replaced in turn by SIGTERM, each during a long call',
  breaks: [
    {
      file: 'src/serve.ts',
      from: 'const GRACE_MS = 15_000;',
      to: 'const GRACE_MS = 0;',
      means: 'calls in flight are cut',
    },
    {
      file: 'src/rpc/leaving.ts',
      from: 'return closing.aborted || (retired.aborted && usedBefore.has(socket));',
      to: 'return false;',
      means: 'no answer says connection: close',
    },
    {
      file: 'src/rpc/listener.ts',
      from: 'Server.prototype.close.call(server, ',
      to: 'server.close(',
      means: 'kept connections are cut in the moment of the close',
    },
  ],
  async run(stage) {
    const clinic = await openClinic(stage);
    try {
      const services = await Promise.all(Array.from({ length: INSTANCES }, () => clinic.start(SETTINGS)));
      const load = await startCountedCalls(clinic, knowingWays(services));
      return await restart(stage, { clinic, services, load }).finally(load.stop);
    } finally {
      await clinic.close();
    }
  },
};

interface Scene {
  readonly clinic: Clinic;
  readonly services: Service[];
  readonly load: CountedCalls;
}

async function restart({ say }: Stage, { clinic, services, load }: Scene): Promise<Report> {
  const longCalls: { readonly bookingId: string }[] = [];
  await sleep(1_000);
  for (const [i, service] of services.entries()) {
    const waiting = await waitingBooking(clinic, service);
    const released = sleep(LONG_CALL_MS).then(waiting.release);
    const [{ reason, answer }] = await Promise.all([waiting.outcome, stopInstance(service), released]);
    services[i] = await startInItsPlace(clinic, service, SETTINGS);
    if (answer) longCalls.push({ bookingId: answer.booking?.id ?? '' });
    // On a machine that is very busy it may have waited for too long; that is an answer too.
    else if (reason !== 'CONTENTION') throw new Error(`a booking in flight was lost: ${reason}`);
    await sleep(BACK_MS);
    say(`${i + 1} restarts, ${load.calls.length} calls, ${failed(load.calls).length} failed`);
  }
  await load.stop();
  for (const line of countedByWay(load.calls)) say(line);
  const report = await lookBack(clinic, [...load.booked, ...longCalls]);
  const failures = failed(load.calls);
  if (failures.length) throw new Error(`${failures.length} of ${load.calls.length} calls failed`);
  return { ...report, notes: [`${load.calls.length} calls through ${INSTANCES} restarts, none failed`] };
}

/** A booking that waits at `service` for its slot, until it is released; and what it is answered. */
async function waitingBooking(clinic: Clinic, service: Service) {
  const [[patient], [doctor]] = await Promise.all([people(clinic, 'PATIENT', 1), people(clinic, 'DOCTOR', 1)]);
  const [slot] = await openSlots(clinic, doctor?.id ?? '');
  const slotId = slot?.id ?? '';
  const [taken, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const locked = forkFor(clinic.orm).transactional(async (em) => {
    await rows(em, sql`SELECT id FROM slot WHERE id = ${slotId} FOR UPDATE`);
    taken.resolve();
    await release.promise;
  });
  await taken.promise;
  const { booking } = clientsOf(service).grpc;
  const request = { requestId: randomUUID(), slotId };
  const outcome = outcomeOf({ ...patient }, (as) => booking.bookSlot(request, as));
  while (!(await someoneWaits(clinic))) await sleep(10);
  return {
    outcome,
    async release() {
      release.resolve();
      await locked;
    },
  };
}

async function someoneWaits({ orm }: Clinic): Promise<boolean> {
  const waiting = sql`SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%slot%'`;
  return (await rows(forkFor(orm), waiting)).length > 0;
}
