import { setTimeout as sleep } from 'node:timers/promises';
import { RetryInfoSchema } from '../gen/google/rpc/error_details_pb.ts';
import { type Person, people } from '../test/support/people.ts';
import { type Clients, outcomeOf } from '../test/support/process-client.ts';
import type { Clinic } from './clinic.ts';

/** A call whose caller set no deadline. */
export interface Asked {
  /** `OK`, the reason of the refusal, or the name of the code when there is none. */
  readonly reason: string;
  /** When it began, as performance.now() has it, and how long it lasted. */
  readonly at: number;
  readonly ms: number;
  /** Whether the refusal says when to try again. */
  readonly retry: boolean;
}

/** Callers who ask again and again, whatever became of their last question. */
export interface Asking {
  /** Resolves with all calls when the last has ended. */
  stop(): Promise<readonly Asked[]>;
}

const EVERY_MS = 300;

/** Has a patient list bookings by each of `clients` three times a second, without a deadline. */
export async function startAsking(clinic: Clinic, clients: readonly Clients[]): Promise<Asking> {
  const [patient] = (await people(clinic, 'PATIENT', 1)) as [Person];
  const calls: Promise<Asked>[] = [];
  let stopped = false;
  const ask = async ({ booking }: Clients): Promise<Asked> => {
    const at = performance.now();
    const { reason, error } = await outcomeOf(patient, (as) => booking.listBookings({}, as));
    return { reason, at, ms: performance.now() - at, retry: Boolean(error?.findDetails(RetryInfoSchema).length) };
  };
  const running = (async () => {
    for (; !stopped; await sleep(EVERY_MS, undefined, { ref: false })) calls.push(...clients.map(ask));
  })();
  return {
    async stop() {
      stopped = true;
      await running;
      return Promise.all(calls);
    },
  };
}
