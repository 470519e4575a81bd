import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MikroORM } from '@mikro-orm/postgresql';
import { type JobHelpers, Logger as LibraryLogger, parseCronItems, run } from 'graphile-worker';
import { createPlainPool } from '../db/plain-pool.ts';
import { workerSchema } from '../db/worker-schema.ts';
import type { Logger } from '../log.ts';
import { forgetFuture } from './forget-future.ts';
import { freeAbandoned } from './free-abandoned.ts';
import type { Job } from './job.ts';
import { JOBS } from './jobs.ts';
import { keepRunning } from './keep-running.ts';
import { NotTheHolder, registerJobs } from './lease.ts';
import { perform } from './perform.ts';
import { createTrouble, type Trouble } from './trouble.ts';

export interface JobsOptions {
  readonly orm: MikroORM;
  /** Of the same database: jobs are fetched by connections of their own. */
  readonly url: string;
  /** Names this process among all that may do them. */
  readonly instance: string;
  readonly log: Logger;
  readonly jobs?: readonly Job[];
  readonly pace?: Pace;
}

/** Milliseconds. */
export interface Pace {
  /** Between two looks for jobs that nobody has announced: those that are tried again, and all where announcements don't arrive. */
  readonly pollMs: number;
  /** Without a sign of life of a run after which another may do its job. */
  readonly leaseMs: number;
  /** Between two looks for such runs, and for what else is wrong in the queue. */
  readonly sweepMs: number;
}

const PACE: Pace = { pollMs: 2_000, leaseMs: 30_000, sweepMs: 10_000 };
/** Of each instance: one listens for jobs, the other fetches them and says that they are done. */
export const CONNECTIONS = 2;
const CONNECT_MS = 5_000;
/** Milliseconds for giving back what is under way, when all stops. */
const STOP_MS = 5_000;

/** Why a run ends before its job is done. */
class Stopping extends Error {}

/**
 * Does the jobs that are due, one after the other, together with all other processes that do: each job is done by one of them
 * at a time. Goes on by itself after the database was away. The function it answers stops that: what is under way is given back.
 */
export function runJobs({ orm, url, instance, log, jobs = JOBS, pace = PACE }: JobsOptions): () => Promise<void> {
  const stopping = new AbortController();
  const { signal } = stopping;
  const trouble = createTrouble(log, signal);
  const applicationName = `amrutam jobs ${instance}`;
  const pool = createPlainPool({ url, pool: CONNECTIONS, poolWaitMs: CONNECT_MS, applicationName }, trouble.happened);
  const perRun = { orm, leaseMs: pace.leaseMs, signal };
  const task = (job: Job) => async (_: unknown, helpers: JobHelpers) => {
    const { attempts: attempt } = helpers.job;
    try {
      const ran = await perform(job, { ...perRun, holder: `${instance} ${randomUUID()}` });
      const level = ran.changed ? 'info' : 'debug'; // most have nothing to do, minute by minute
      log[level]({ job: job.name, changed: ran.changed, ms: Math.round(ran.ms) }, 'a background job is done');
    } catch (err) {
      if (err instanceof NotTheHolder || signal.aborted)
        log.debug({ job: job.name, attempt, err }, 'a background job is left to another run');
      else log.error({ job: job.name, attempt, err }, 'a background job has failed: it will be tried again');
      throw err;
    }
  };
  const start = async () => {
    await registerJobs(
      orm,
      jobs.map(({ name }) => name),
    );
    return run({
      pgPool: pool,
      schema: await workerSchema(orm),
      taskList: Object.fromEntries(jobs.map((job) => [job.name, task(job)])),
      parsedCronItems: parseCronItems(jobs.map(cronItem)),
      logger: libraryLogger(trouble),
      pollInterval: pace.pollMs,
      concurrency: 1,
      noHandleSignals: true,
      noPreparedStatements: true, // poolers before PgBouncer 1.21 lose them
      // Without, the promise of "done" is nobody's, and its failure ends the process.
      preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
    });
  };
  const over = keepRunning(start, signal, trouble);
  const sweep = async () => {
    const swept = Promise.all([freeAbandoned(orm, pace.leaseMs), forgetFuture(orm)]);
    await swept.then(trouble.seemsOver, ({ message }: Error) => trouble.happened(message));
    if (!signal.aborted) timer = setTimeout(sweep, pace.sweepMs).unref();
  };
  let timer = setTimeout(sweep, pace.sweepMs).unref();
  return async () => {
    stopping.abort(new Stopping('the process stops'));
    clearTimeout(timer);
    await Promise.race([over.then(() => pool.end()), sleep(STOP_MS, undefined, { ref: false })]).catch(() => {});
  };
}

/** One at a time of each, and of those that were missed the last. */
function cronItem({ name, schedule, overdueMs }: Job) {
  const options = { backfillPeriod: overdueMs, jobKey: name, queueName: name };
  return { task: name, match: schedule, identifier: name, options };
}

/** What the library tells. That a job has failed is logged where it fails. */
function libraryLogger(trouble: Trouble): LibraryLogger {
  return new LibraryLogger(() => (level, message, meta) => {
    const [problem = ''] = message.split('\n');
    if ((level === 'error' || level === 'warning') && !meta?.failure) trouble.happened(problem);
  });
}
