import type { Service } from '../../test/support/process-service.ts';
import { type Clinic, openClinic } from '../clinic.ts';
import type { Report, Stage } from '../drill.ts';
import { type Canary, startCanary } from './canary.ts';
import { vitalsOf } from './vitals.ts';

/** What an attack has to work with. */
export interface Siege {
  readonly clinic: Clinic;
  readonly service: Service;
  readonly stage: Stage;
}

/** From where attacks come, so that an honest client's address is another; and a proxy that the instance trusts. */
export const ENEMY = '127.0.0.2';
export const PROXY = '127.0.0.3';

/** Resident memory that an instance may have at its worst. */
const MOST_MB = 700;

/**
 * Attacks one instance while an honest client calls. Throws when the instance ends, logs an error, takes too much memory,
 * or fails the honest client. `attack` answers notes for the table.
 */
export async function besiege(stage: Stage, attack: (siege: Siege) => Promise<readonly string[]>): Promise<Report> {
  const clinic = await openClinic(stage);
  let canary: Canary | undefined;
  try {
    const service = await clinic.start({ TRUSTED_PROXIES: PROXY });
    const before = vitalsOf(service.pid);
    canary = startCanary(service);
    const notes = await attack({ clinic, service, stage });
    const figures = await canary.stop();
    mustLive(service);
    const after = vitalsOf(service.pid);
    if (after.peakMb > MOST_MB) throw new Error(`it took ${after.peakMb} MB`);
    const honest = `honest calls ${figures.calls}, p99 ${figures.p99} ms`;
    const memory = `memory ${before.rssMb} -> ${after.peakMb} MB at most, ${after.rssMb} now`;
    return {
      acknowledged: figures.calls,
      lost: 0,
      doubled: 0,
      notes: [honest, memory, ...notes],
    };
  } finally {
    canary?.hush();
    await clinic.close();
  }
}

/** Lines that nobody should ever find in a log; that a slow machine is not ready for a moment isn't one. */
const UNEXPECTED = /^.*"msg":"(unexpected error|a call could not be|a page failed|an error that nobody).*$/m;

/** Throws when an instance has ended or logged what nobody expects. */
export function mustLive({ pid, output }: Service): void {
  const error = UNEXPECTED.exec(output());
  if (error) throw new Error(`it logged an error: ${error[0].slice(0, 600)}`);
  vitalsOf(pid);
}
