import { setTimeout as sleep } from 'node:timers/promises';
import { createPasswordHasher } from './auth/password.ts';
import type { Config } from './config.ts';
import type { Database } from './database.ts';
import { poolLoad } from './db/orm.ts';
import { type Readiness, watchedReadiness } from './db/readiness.ts';
import { createReplica, type Replica } from './db/replica.ts';
import { watchStatements } from './db/watched.ts';
import { openKeys } from './keys.ts';
import type { Logger } from './log.ts';
import { createMetrics, type Metrics, type Snapshot } from './metrics/metrics.ts';
import { countedByRedis, createRateCounter, type SharedCounter } from './rate-counter.ts';
import { closeRedis, openRedis } from './redis.ts';
import { redisShelf } from './redis-shelf.ts';
import type { Listener } from './rpc/listener.ts';
import { NOT_SEALED } from './sealing.ts';
import { build, SERVICES, type Server } from './server.ts';
import { readTls } from './tls.ts';
import { ConfigError } from './variables.ts';

/** The ports on which calls are answered. */
export interface Ports {
  readonly grpcPort: number;
  readonly httpPort: number;
}

/** Calls that are being answered. */
export interface Serving {
  readonly ports: Ports;
  /** What was counted of them, of each process for itself. */
  metrics(): Promise<readonly Snapshot[]>;
  /** Says "not ready" first, then ends as the listeners do. Resolves when all is over; the database stays open. */
  drain(): Promise<void>;
}

/** Milliseconds that calls in flight may go on after the listeners have stopped accepting. */
export const GRACE_MS = 15_000;
/** Milliseconds between two looks at the database for the health service. */
const WATCH_MS = 1_000;
/** Milliseconds between two lines about reads that fail at the replica: where one does, many may. */
const QUIET_MS = 10_000;
const STOPPING: Readiness = { ready: false, reasons: ['stopping'], warnings: [] };

/**
 * Answers calls in this process. `counters` are where it counts together with others, beside Redis. Throws ConfigError, or
 * an Error that names the variable, when something that the configuration names can't be used.
 */
export async function serve(
  config: Config,
  { log, database, counters = [] }: { log: Logger; database: Database; counters?: readonly SharedCounter[] },
): Promise<Serving> {
  const tls = await readTls(config);
  const keys = await openKeys(config, log);
  const redis = config.redisUrl === undefined ? undefined : watchedRedis(config.redisUrl, log);
  const shared = redis ? [countedByRedis(redis), ...counters] : counters;
  const shelf = redis && redisShelf(redis);
  const passwords = createPasswordHasher();
  const metrics = createMetrics(SERVICES.flatMap(({ methods }) => methods));
  watchStatements(database.orm, metrics.asked);
  const replica = openReplica(config, { log, database, metrics });
  const takeTurn = config.rateLimits ? createRateCounter(shared).take : undefined;
  const answers = watchedReadiness(database.orm);
  let stopping = false;
  const standing = config.auditKeysFile ? [] : [NOT_SEALED];
  const ready = async () => (stopping ? STOPPING : warned(await answers(), standing));
  const jwt = { issuer: config.jwtIssuer, audience: config.jwtAudience };
  const server = build({
    ...config,
    orm: database.orm,
    replica,
    keys,
    passwords,
    log,
    metrics,
    jwt,
    ready,
    tls,
    takeTurn,
    shelf,
  });
  const ports = await listen(server, config);
  let serving = false;
  const onReady = (now: boolean) => {
    serving = now;
    server.setServing(now);
  };
  const pool = () => poolLoad(database.orm);
  metrics.look({ pool, waiting: server.units.waiting, ready: () => serving, replica: replica?.usable });
  const unwatch = watchHealth(onReady, ready, log);
  const drain = async () => {
    stopping = true;
    unwatch();
    onReady(false);
    if (config.drainDelayMs > 0) await retire(server, config.drainDelayMs);
    await Promise.all([server.grpc.close(GRACE_MS), server.http.close(GRACE_MS)]);
    for (const one of [server, keys]) one.close();
    replica?.stop();
    if (redis) closeRedis(redis);
    metrics.stop();
  };
  return { ports, metrics: async () => [await metrics.snapshot()], drain };
}

/** The replica that the configuration names; what can't be read there is read from the database, so nothing waits for it. */
function openReplica(
  { databasePool, poolWaitMs }: Config,
  { log, database, metrics }: { log: Logger; database: Database; metrics: Metrics },
): Replica | undefined {
  const { orm: leader, replica: orm } = database;
  if (!orm) return undefined;
  watchStatements(orm, metrics.asked);
  let quietUntil = 0;
  return createReplica({
    orm,
    leader,
    pool: { connections: databasePool, waitMs: poolWaitMs },
    count: metrics.listedAt,
    failed(problem) {
      if (performance.now() < quietUntil) return;
      quietUntil = performance.now() + QUIET_MS;
      log.warn({ problem }, 'a list or report could not be read from the replica: the database is asked');
    },
    tell: (problem) =>
      problem === undefined
        ? log.info('lists and reports are read from the replica')
        : log.warn({ problem }, "the replica can't be used: lists and reports are read from the database itself"),
  });
}

function watchedRedis(url: string, log: Logger) {
  return openRedis(url, {
    warn: (problem) => log.warn({ problem }, 'Redis is away: this instance goes on with what it knows itself'),
    found: () => log.info('Redis answers'),
  });
}

/** Told beside what the database has to say. */
function warned(answer: Readiness, standing: readonly string[]): Readiness {
  return standing.length ? { ...answer, warnings: [...answer.warnings, ...standing] } : answer;
}

async function listen({ grpc, http }: Server, { host, grpcPort, httpPort }: Config): Promise<Ports> {
  const on = (listener: Listener, name: string, port: number) =>
    listener.listen(host, port).catch((error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'another process uses it already' : error.message;
      throw new ConfigError(`${name}: can't listen on ${host}:${port}: ${why}. Choose another with ${name}=…, or HOST`);
    });
  return { grpcPort: await on(grpc, 'GRPC_PORT', grpcPort), httpPort: await on(http, 'HTTP_PORT', httpPort) };
}

/** Keeps those who say whether calls are served true: not serving while the database is away, and again when it is back. */
function watchHealth(onReady: (now: boolean) => void, ready: () => Promise<Readiness>, log: Logger): () => void {
  let before: string | undefined;
  let stopped = false;
  const look = async () => {
    const { ready: now, reasons, warnings } = await ready();
    if (stopped) return;
    const told = JSON.stringify([now, warnings]);
    if (told !== before) {
      onReady(now);
      if (!now) log.error({ reasons }, 'not ready');
      else if (warnings.length) log.warn({ warnings }, 'ready, but');
      else log.info('ready');
    }
    before = told;
    timer = setTimeout(look, WATCH_MS).unref();
  };
  let timer = setTimeout(look, 0);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

/** Serves everybody for `ms` more, while balancers learn from the health that this instance goes. */
async function retire({ grpc, http }: Server, ms: number): Promise<void> {
  for (const listener of [grpc, http]) listener.retire();
  await sleep(ms);
}
