import cluster from 'node:cluster';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { COMPILE_CACHE } from './compile-cache.ts';
import type { Config } from './config.ts';
import type { Logger } from './log.ts';
import type { Snapshot } from './metrics/metrics.ts';
import { type Succession, succession } from './metrics/summed.ts';
import { supervisorMetrics } from './metrics/supervisor-metrics.ts';
import { countForProcesses } from './process-counts.ts';
import type { Order, Report } from './process-messages.ts';
import { GRACE_MS, type Ports, type Serving } from './serve.ts';

/** Milliseconds beyond what a drain may take, after which a process that still lives is killed. */
const OVERDUE_MS = 10_000;
/** A process that ends sooner after its start has failed, and the next one waits: longer each time, up to LONGEST_PAUSE_MS. */
const STABLE_MS = 10_000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
/** Milliseconds for a process to tell what it has counted; after that what it told last stands. */
const COUNT_MS = 1_000;
const COUNTED = 'counted';

/**
 * Has `config.processes` processes serve on the same ports, which get the connections in turn. Resolves when all serve; rejects
 * with the reason of the first that can't. One that ends later is replaced. None outlives the calling process but to
 * bring its calls to an end.
 */
export async function startProcesses(config: Config, log: Logger): Promise<Serving> {
  cluster.schedulingPolicy = cluster.SCHED_RR;
  cluster.setupPrimary({ exec: join(import.meta.dirname, 'worker.ts'), args: [] });
  countForProcesses();
  process.on('exit', killAll);
  const own = supervisorMetrics();
  const places = Array.from({ length: config.processes }, (_, i) =>
    fillPlace(configOf(config, i + 1), { log, replaced: own.replaced }),
  );
  const [ports] = (await Promise.all(places.map(({ served }) => served))) as [Ports];
  const drain = async () => {
    setTimeout(killAll, config.drainDelayMs + GRACE_MS + OVERDUE_MS).unref();
    await Promise.all(places.map(({ empty }) => empty()));
  };
  const metrics = async () => [
    await own.snapshot(),
    ...(await Promise.all(places.map(({ metrics }) => metrics()))).flat(),
  ];
  return { ports, metrics, drain };
}

/** What one process is told: a name of its own, and its share of the connections. */
function configOf(config: Config, place: number): Config {
  const databasePool = Math.ceil(config.databasePool / config.processes);
  return { ...config, databasePool, instance: `${config.instance}-${place}` };
}

function killAll(): void {
  for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGKILL');
}

/** Where a process serves, and another one after it. */
interface Place {
  /** Resolves when the first one serves. Rejects when it can't. */
  readonly served: Promise<Ports>;
  /** What those who have served here have counted. */
  metrics(): Promise<readonly Snapshot[]>;
  /** Has the process drain, and no other follow. Resolves when it is gone. */
  empty(): Promise<void>;
}

/** What a place tells of what happens in it. */
interface Told {
  readonly log: Logger;
  replaced(): void;
}

function fillPlace(config: Config, told: Told): Place {
  const { log } = told;
  const emptied = new AbortController();
  const { instance } = config;
  const counts = succession();
  const start = () => startProcess(config, { log, counted: counts.now });
  let now = start();
  const { served } = now;
  const next = () => {
    now = start();
    return now;
  };
  const over = keepFilled(now, { next, instance, ...told, counts, emptied: emptied.signal });
  const empty = async () => {
    emptied.abort();
    now.stop();
    await over;
  };
  const metrics = async () => {
    await now.count();
    return counts.all();
  };
  return { served, metrics, empty };
}

/** Starts the `next` process whenever one has ended, until the place is to be empty. */
async function keepFilled(
  first: Process,
  {
    next,
    instance,
    log,
    replaced,
    counts,
    emptied,
  }: Told & { next(): Process; instance: string; counts: Succession; emptied: AbortSignal },
): Promise<void> {
  let failures = 0;
  for (let now = first; ; ) {
    const startedAt = performance.now();
    const end = await now.ended;
    await counts.ended();
    if (emptied.aborted) return;
    replaced();
    failures = performance.now() - startedAt < STABLE_MS ? failures + 1 : 0;
    const pauseMs = failures && Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS);
    log.error({ instance, pid: now.pid, end, pauseMs }, 'a process has ended: another will take its place');
    await sleep(pauseMs, undefined, { signal: emptied }).catch(() => {});
    if (emptied.aborted) return;
    now = next();
    const { pid } = now;
    now.served.then(
      (ports) => log.info({ instance, pid, ...ports }, 'another process has taken its place'),
      (err) => log.error({ instance, pid, err }, 'a process could not serve'),
    );
  }
}

interface Process {
  readonly pid: number | undefined;
  /** Resolves when it serves. Rejects when it can't. */
  readonly served: Promise<Ports>;
  /** Resolves, with how, when it has ended. */
  readonly ended: Promise<string>;
  /** Has it tell what it has counted. Resolves when it has, or hasn't in time. */
  count(): Promise<void>;
  stop(): void;
}

function startProcess(
  config: Config,
  { log, counted }: { readonly log: Logger; readonly counted: (snapshot: Snapshot) => void },
): Process {
  const worker = cluster.fork({ NODE_COMPILE_CACHE: COMPILE_CACHE });
  const { pid } = worker.process;
  log.info({ instance: config.instance, pid }, 'a process has started');
  const served = Promise.withResolvers<Ports>();
  const ended = Promise.withResolvers<string>();
  const end = (how: string) => {
    served.reject(new Error(`a process ended before it served: ${how}`));
    ended.resolve(how);
  };
  worker.on('message', (report: Report) => {
    if ('serving' in report) served.resolve(report.serving);
    if ('failure' in report) served.reject(new Error(report.failure));
    if ('counted' in report) {
      counted(report.counted);
      worker.emit(COUNTED);
    }
  });
  // Of a process that never began. Else of a message that found it gone, be it the library's or Node's own: its end tells.
  worker.on('error', (error) => pid === undefined && end(error.message));
  // Not 'exit', which may come before the last message.
  worker.process.once('close', (code, signal) => end(signal ?? `exit code ${code}`));
  const tell = (order: Order) => void (worker.isConnected() && worker.send(order));
  tell({ serve: config });
  const count = () => {
    const told = once(worker, COUNTED, { signal: AbortSignal.timeout(COUNT_MS) }).then(
      () => {},
      () => {},
    );
    tell({ count: true });
    return Promise.race([told, ended.promise.then(() => {})]);
  };
  return { pid, served: served.promise, ended: ended.promise, count, stop: () => tell({ stop: true }) };
}
