import { Gauge, Registry } from 'prom-client';
import type { JobFigures } from '../jobs/job-figures.ts';
import type { MailFigures } from '../mail/mail-figures.ts';
import { version } from '../version.ts';
import { type MailMetrics, mailMetrics } from './mail-metrics.ts';
import type { Snapshot } from './metrics.ts';

/** What there is once in an instance, however many processes it has. */
export interface InstanceMetrics extends Pick<MailMetrics, 'mailed'> {
  snapshot(): Promise<Snapshot>;
}

/** What is asked for whenever somebody asks for metrics; undefined while it isn't known. */
export interface Figures {
  /** How the background jobs are doing. */
  readonly jobs: () => Promise<readonly JobFigures[] | undefined>;
  /** What waits to be sent; absent where no mails are sent. */
  readonly mails?: (() => Promise<MailFigures | undefined>) | undefined;
}

export function instanceMetrics({ jobs, mails }: Figures): InstanceMetrics {
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
  const mail = mails && mailMetrics(registry, mails);
  return {
    mailed: (kind, result) => mail?.mailed(kind, result),
    async snapshot() {
      const [found = []] = await Promise.all([jobs(), mail?.look()]);
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
