import cluster from 'node:cluster';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { COMPILE_CACHE } from './compile-cache.ts';
import type { Config } from './config.ts';
import type { Logger } from './log.ts';
import { countForProcesses } from './process-counts.ts';
import type { Order, Report } from './process-messages.ts';
import { GRACE_MS, type Ports, type Serving } from './serve.ts';

/** Milliseconds beyond what a drain may take, after which a process that still lives is killed. */
const OVERDUE_MS = 10_000;
/** A process that ends sooner after its start has failed, and the next one waits: longer each time, up to LONGEST_PAUSE_MS. */
const STABLE_MS = 10_000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;

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
  const places = Array.from({ length: config.processes }, (_, i) => fillPlace(configOf(config, i + 1), log));
  const [ports] = (await Promise.all(places.map(({ served }) => served))) as [Ports];
  const drain = async () => {
    setTimeout(killAll, config.drainDelayMs + GRACE_MS + OVERDUE_MS).unref();
    await Promise.all(places.map(({ empty }) => empty()));
  };
  return { ports, drain };
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
  /** Has the process drain, and no other follow. Resolves when it is gone. */
  empty(): Promise<void>;
}

function fillPlace(config: Config, log: Logger): Place {
  const emptied = new AbortController();
  const { instance } = config;
  let now = startProcess(config, log);
  const { served } = now;
  const next = () => {
    now = startProcess(config, log);
    return now;
  };
  const over = keepFilled(now, { next, instance, log, emptied: emptied.signal });
  const empty = async () => {
    emptied.abort();
    now.stop();
    await over;
  };
  return { served, empty };
}

/** Starts the `next` process whenever one has ended, until the place is to be empty. */
async function keepFilled(
  first: Process,
  { next, instance, log, emptied }: { next(): Process; instance: string; log: Logger; emptied: AbortSignal },
): Promise<void> {
  let failures = 0;
  for (let now = first; ; ) {
    const startedAt = performance.now();
    const end = await now.ended;
    if (emptied.aborted) return;
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
  stop(): void;
}

function startProcess(config: Config, log: Logger): Process {
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
  });
  // Of a process that never began. Else of a message that found it gone, be it the library's or Node's own: its end tells.
  worker.on('error', (error) => pid === undefined && end(error.message));
  // Not 'exit', which may come before the last message.
  worker.process.once('close', (code, signal) => end(signal ?? `exit code ${code}`));
  const tell = (order: Order) => void (worker.isConnected() && worker.send(order));
  tell({ serve: config });
  return { pid, served: served.promise, ended: ended.promise, stop: () => tell({ stop: true }) };
}
