import { Gauge, Registry } from 'prom-client';
import type { SealFigures } from '../audit/seal-figures.ts';
import type { WalArchive } from '../db/wal-archive.ts';
import type { JobFigures } from '../jobs/job-figures.ts';
import type { MailFigures } from '../mail/mail-figures.ts';
import { version } from '../version.ts';
import { type MailMetrics, mailMetrics } from './mail-metrics.ts';
import type { Snapshot } from './metrics.ts';

/** What there is once in an instance, however many processes it has. */
export interface InstanceMetrics extends Pick<MailMetrics, 'mailed'> {
  snapshot(): Promise<Snapshot>;
}

/** What instances ask the database about; nothing while it doesn't tell. */
interface Asked {
  readonly jobs: () => Promise<readonly JobFigures[]>;
  readonly archive: () => Promise<WalArchive | undefined>;
  readonly seals: () => Promise<SealFigures | undefined>;
  /** Absent where no mails are sent. */
  readonly mails?: (() => Promise<MailFigures | undefined>) | undefined;
}

export function instanceMetrics({ jobs, archive, seals, mails }: Asked): InstanceMetrics {
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
  const tellArchive = archiveGauges(registry);
  const tellSeals = sealGauges(registry);
  const mail = mails && mailMetrics(registry, mails);
  return {
    mailed: (kind, result) => mail?.mailed(kind, result),
    async snapshot() {
      const [found, archived, sealed] = await Promise.all([jobs(), archive(), seals(), mail?.look()]);
      tellArchive(archived);
      tellSeals(sealed);
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

/** Gauges that have a value while there is one to tell. */
function archiveGauges(registry: Registry): (found: WalArchive | undefined) => void {
  const gauge = (name: string, help: string) => new Gauge({ name, help, labelNames: [], registers: [registry] });
  const archived = gauge(
    'wal_archived_timestamp_seconds',
    "When a file of the database's log was last archived, in seconds since 1970; 0: never.",
  );
  const failed = gauge(
    'wal_archive_failed_timestamp_seconds',
    "When archiving a file of the database's log last failed, in seconds since 1970; 0: never.",
  );
  const waiting = gauge('wal_unarchived_bytes', "Bytes of the database's log after what is archived.");
  const seconds = (at: Date | undefined) => (at?.getTime() ?? 0) / 1000;
  return (found) => {
    for (const one of [archived, failed, waiting]) one.remove();
    if (!found) return;
    archived.set(seconds(found.archivedAt));
    failed.set(seconds(found.failedAt));
    if (found.waitingBytes !== undefined) waiting.set(found.waitingBytes);
  };
}

function sealGauges(registry: Registry): (found: SealFigures | undefined) => void {
  const registers = [registry];
  const ofLog = (name: string, help: string) => new Gauge({ name, help, registers });
  const number = ofLog('audit_seal_number', 'The number of the last seal of the audit log; 0 when there is none.');
  const unsealed = ofLog(
    'audit_unsealed_seconds',
    'Age of the oldest row of the audit log that is not sealed; 0 when all are.',
  );
  return (found) => {
    for (const gauge of [number, unsealed]) gauge.remove();
    if (found) number.set(found.head?.number ?? 0);
    if (found) unsealed.set(found.waiting?.seconds ?? 0);
  };
}
