import { banner } from './banner.ts';
import { type Config, readConfig } from './config.ts';
import { seldom } from './db/seldom.ts';
import { watchedArchive } from './db/wal-archive.ts';
import { endWhenAsked } from './first-process.ts';
import { JOBS } from './jobs/jobs.ts';
import { runJobs } from './jobs/run-jobs.ts';
import { watchedFigures } from './jobs/watched-figures.ts';
import { createLog, logWhatLibrariesPrint } from './log.ts';
import { type MailFigures, mailFigures } from './mail/mail-figures.ts';
import { mailJobs } from './mail/mail-jobs.ts';
import { instanceMetrics } from './metrics/instance-metrics.ts';
import { openMetricsPort } from './metrics/port.ts';
import { prepare } from './prepare.ts';
import { startProcesses } from './processes.ts';
import { sealing, watchedSeals } from './sealing.ts';
import { serve } from './serve.ts';
import { stopWhenAsked } from './stopping.ts';
import { startTracing } from './tracing/start-tracing.ts';

/** For background jobs and their figures, beside the 2 that fetch jobs: calls are answered by other processes. */
const SUPERVISOR_CONNECTIONS = 3;

/** Starts everything and serves until a signal, by itself or by processes of its own; or says why not. */
async function main(config: Config): Promise<void> {
  const goOn = endWhenAsked();
  const log = createLog(config.logLevel);
  logWhatLibrariesPrint(log);
  const metricsPort = await openMetricsPort(config, log);
  const alone = config.processes === 1;
  const database = await prepare(alone ? config : { ...config, databasePool: SUPERVISOR_CONNECTIONS }, log);
  const sealed = await sealing(config, log);
  const endTracing = await startTracing(config, log);
  const { ports, metrics, drain } = alone
    ? await serve(config, { log, database })
    : await startProcesses({ ...config, databaseUrl: database.url }, log);
  const { orm } = database;
  const instance = instanceMetrics({
    jobs: watchedFigures(orm, () => jobs),
    archive: watchedArchive(orm),
    seals: watchedSeals(orm),
    mails: config.mail && seldom<MailFigures | undefined>((signal) => mailFigures(orm, signal), undefined),
  });
  const mailed = config.mail ? mailJobs(config.mail, { orm, log, count: instance.mailed }) : [];
  const jobs = [...JOBS, ...sealed, ...mailed];
  metricsPort.show(async () => [await instance.snapshot(), ...(await metrics())]);
  log.info(
    {
      ...ports,
      metricsPort: metricsPort.port,
      host: config.host,
      instance: config.instance,
      processes: config.processes,
    },
    'serving',
  );
  if (database.embedded) process.stdout.write(banner(config, { ...ports, metricsPort: metricsPort.port }));
  const stopJobs = runJobs({ ...database, instance: config.instance, log, jobs });
  stopWhenAsked(log, database, async () => {
    await Promise.all([drain(), stopJobs()]);
    metricsPort.close();
    await endTracing();
    await database.close();
  });
  goOn();
}

try {
  await main(readConfig());
} catch (error) {
  process.stderr.write(`\nAmrutam can't start: ${(error as Error).message}\n\n`);
  process.exit(1);
}
