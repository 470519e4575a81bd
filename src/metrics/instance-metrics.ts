import { Gauge, Registry } from 'prom-client';
import type { SealFigures } from '../audit/seal-figures.ts';
import type { JobFigures } from '../jobs/job-figures.ts';
import { version } from '../version.ts';
import type { Snapshot } from './metrics.ts';

/** What there is once in an instance, however many processes it has. */
export interface InstanceMetrics {
  snapshot(): Promise<Snapshot>;
}

/** `jobs` tells how the background jobs are doing, `seals` how far the audit log is sealed; nothing while that isn't known. */
export function instanceMetrics(
  jobs: () => Promise<readonly JobFigures[]>,
  seals: () => Promise<SealFigures | undefined>,
): InstanceMetrics {
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
  const ofJob = (name: string, help: string) => new Gauge({ name, help, labelNames: ['name'], registers });
  const lag = ofJob('job_lag_seconds', 'How long a background job has been due and is not done.');
  const failures = ofJob('job_failures', 'Runs of a background job that have failed since the last that succeeded.');
  const done = ofJob('job_succeeded_timestamp_seconds', 'When a background job was last done, in seconds since 1970.');
  const ofLog = (name: string, help: string) => new Gauge({ name, help, registers });
  const number = ofLog('audit_seal_number', 'The number of the last seal of the audit log; 0 when there is none.');
  const unsealed = ofLog(
    'audit_unsealed_seconds',
    'Age of the oldest row of the audit log that is not sealed; 0 when all are.',
  );
  return {
    async snapshot() {
      const [found, sealed] = await Promise.all([jobs(), seals()]);
      for (const gauge of [number, unsealed]) gauge.remove();
      if (sealed) number.set(sealed.head?.number ?? 0);
      if (sealed) unsealed.set(sealed.waiting?.seconds ?? 0);
      for (const gauge of [lag, failures, done]) gauge.reset();
      for (const { name, lagSeconds, failures: failed, succeededAt } of found) {
        lag.set({ name }, lagSeconds);
        failures.set({ name }, failed);
        if (succeededAt) done.set({ name }, succeededAt.getTime() / 1000);
      }
      return registry.getMetricsAsJSON();
    },
  };
}
