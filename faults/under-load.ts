import { setTimeout as sleep } from 'node:timers/promises';
import { type Clients, clientsOf } from '../test/support/process-client.ts';
import type { Service } from '../test/support/process-service.ts';
import { type Bookers, startBookers } from './bookers.ts';
import { type Clinic, type Ground, openClinic } from './clinic.ts';
import type { Report } from './drill.ts';
import { poolsMustBeFull } from './pools.ts';

/** Instances at work. */
export interface Scene {
  readonly clinic: Clinic;
  /** Those that live; a drill that replaces one says so with `replaced`. */
  readonly services: readonly Service[];
  readonly bookers: Bookers;
  /** Patients call `service` from now on, instead of the instance at `index`. */
  replaced(index: number, service: Service): void;
}

type Environment = Readonly<Record<string, string>>;

/** How many, and how they are set up. */
export interface Load {
  readonly instances?: number;
  readonly patients?: number;
  /** Milliseconds between two bookings of a patient, who has 450 slots. */
  readonly pauseMs?: number;
  readonly env?: (clinic: Clinic) => Environment | Promise<Environment>;
  /** Calls may end without a reason of ours: instances are killed. */
  readonly brutal?: boolean;
}

const WARM_UP_MS = 1_500;

/**
 * Runs `injure` while patients book one slot after the other, half of them by gRPC and half by JSON over HTTP/1.1. Then
 * each finishes its request, and all promises are looked at: nothing acknowledged is lost, nothing took effect twice,
 * every refusal had a reason, and every connection of every pool can be used.
 */
export async function underLoad(
  stage: Ground,
  { instances = 2, patients = 16, pauseMs = 60, env = () => ({}), brutal = false }: Load,
  injure: (scene: Scene) => Promise<Partial<Report>>,
): Promise<Report> {
  const clinic = await openClinic(stage);
  let bookers: Bookers | undefined;
  let ended: Promise<unknown> | undefined;
  try {
    const settings = await env(clinic);
    const services = await Promise.all(Array.from({ length: instances }, () => clinic.start(settings)));
    const clients = services.flatMap(bothClients);
    bookers = await startBookers(clinic, { count: patients, clients, slotsEach: 450, pauseMs });
    const replaced = (index: number, service: Service) => {
      services[index] = service;
      clients.splice(index * 2, 2, ...bothClients(service));
    };
    await sleep(WARM_UP_MS);
    const injuring = injure({ clinic, services, bookers, replaced });
    ended = injuring.catch(() => {});
    const told = await Promise.race([injuring, bookers.failed]);
    const report = await bookers.stop();
    const bare = brutal ? [] : bookers.outcomes.filter(({ reason }) => !/^([A-Z_]+|OK|DeadlineExceeded)$/.test(reason));
    if (bare.length) throw new Error(`${bare.length} refusals had no reason, such as ${bare[0]?.error?.message}`);
    await poolsMustBeFull(clinic, services);
    return { ...report, ...told, notes: [...(told.notes ?? []), ...(report.notes ?? [])] };
  } finally {
    bookers?.abandon();
    await ended; // it may have stopped what the next drill needs
    await clinic.close();
  }
}

function bothClients(service: Service): readonly Clients[] {
  const { grpc, json } = clientsOf(service);
  return [grpc, json];
}
