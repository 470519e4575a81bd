import { inJob } from '../tracing/tracer.ts';
import type { Job } from './job.ts';
import { type LeaseOptions, NotTheHolder, takeLease } from './lease.ts';

/** How a run of a job went. */
export interface Ran {
  /** How many things it has changed. */
  readonly changed: number;
  readonly ms: number;
}

/**
 * Does a job once, if nobody else is at it, and keeps on record how that went. Throws what the job has thrown, the reason of
 * `signal`, or NotTheHolder: then another run does it.
 */
export function perform(job: Job, options: Omit<LeaseOptions, 'job'>): Promise<Ran> {
  return inJob(`job ${job.name}`, () => run(job, options));
}

async function run(job: Job, options: Omit<LeaseOptions, 'job'>): Promise<Ran> {
  const startedAt = performance.now();
  const lease = await takeLease({ ...options, job: job.name });
  let changed: number;
  try {
    changed = await job.run(lease.step);
  } catch (error) {
    if (error instanceof NotTheHolder) throw error;
    // When the database is away nothing can be put on record; the lease ends by itself then.
    await (options.signal.aborted ? lease.dropped() : lease.failed(error as Error)).catch(() => {});
    throw error;
  }
  await lease.succeeded();
  return { changed, ms: performance.now() - startedAt };
}
