import { Gauge, Registry } from 'prom-client';
import type { JobLag } from '../db/job-lag.ts';
import { version } from '../version.ts';
import type { Snapshot } from './metrics.ts';

/** What there is once in an instance, however many processes it has. */
export interface InstanceMetrics {
  snapshot(): Promise<Snapshot>;
}

/** `jobs` tells of the queue of background jobs; undefined while nothing is known of it. */
export function instanceMetrics(jobs: () => Promise<JobLag | undefined>): InstanceMetrics {
  const registry = new Registry();
  const registers = [registry];
  new Gauge({
    name: 'process_start_time_seconds',
    help: 'When the instance started, in seconds since 1970.',
    aggregator: 'min',
    registers,
  }).set(performance.timeOrigin / 1000);
  new Gauge({
    name: 'build_info',
    help: '1, with the version of the service and of Node.',
    labelNames: ['version', 'node'],
    registers,
  }).set({ version, node: process.version }, 1);
  const [lag, waiting, failed] = [
    new Gauge({
      name: 'job_lag_seconds',
      help: 'How long the oldest background job has been due and is not done.',
      registers,
    }),
    new Gauge({ name: 'jobs_due', help: 'Background jobs that are due and not done.', registers }),
    new Gauge({ name: 'jobs_given_up', help: 'Background jobs that have failed as often as they may.', registers }),
  ];
  return {
    async snapshot() {
      const found = await jobs();
      if (found) {
        lag.set(found.lagSeconds);
        waiting.set(found.due);
        failed.set(found.givenUp);
      } else for (const gauge of [lag, waiting, failed]) gauge.remove();
      return registry.getMetricsAsJSON();
    },
  };
}
