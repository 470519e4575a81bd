import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSecureContext } from 'node:tls';
import { createPasswordHasher } from './auth/password.ts';
import { banner } from './banner.ts';
import { type Config, ConfigError, readConfig } from './config.ts';
import { type Database, openDatabase } from './database.ts';
import { type Readiness, watchedReadiness } from './db/readiness.ts';
import { keepUpHourly } from './db/upkeep.ts';
import { publishComingWeek, seedDemoClinic } from './demo-clinic.ts';
import { openKeys } from './keys.ts';
import { createLog, type Logger } from './log.ts';
import { createRateCounter } from './rate-counter.ts';
import { closeRedis, openRedis } from './redis.ts';
import { redisShelf } from './redis-shelf.ts';
import type { Listener } from './rpc/listener.ts';
import { build, type Server } from './server.ts';

/** Milliseconds that calls in flight may go on after the listeners have stopped accepting. */
const GRACE_MS = 15_000;
/** Milliseconds between two looks at the database for the health service. */
const WATCH_MS = 1_000;
const STOPPING: Readiness = { ready: false, reasons: ['stopping'], warnings: [] };

/** Starts everything and serves until a signal; or says why not, before anything listens. */
async function main(config: Config): Promise<void> {
  const log = createLog(config.logLevel);
  logWhatLibrariesPrint(log);
  const tls = config.tls && (await readTls(config.tls));
  const warn = (message: string) => log.warn({ problem: message }, 'database connection');
  const database = await openDatabase(config, { warn });
  const keys = await openKeys(config, log);
  const redis = config.redisUrl === undefined ? undefined : watchedRedis(config.redisUrl, log);
  if (!config.rateLimits) log.warn('RATE_LIMITS is off: anybody may guess and flood as fast as they can');
  const takeTurn = config.rateLimits ? createRateCounter(redis).take : undefined;
  const shelf = redis && redisShelf(redis);
  const passwords = createPasswordHasher();
  const answers = watchedReadiness(database.orm);
  let stopping = false;
  const ready = async () => (stopping ? STOPPING : answers());
  const jwt = { issuer: config.jwtIssuer, audience: config.jwtAudience };
  const server = build({ ...config, orm: database.orm, keys, passwords, log, jwt, ready, tls, takeTurn, shelf });
  if (database.embedded) {
    await seedDemoClinic(server.units, passwords, config.demoPassword);
    await publishComingWeek(server.units);
  }
  const ports = await listen(server, config);
  const unwatch = watchHealth(server, ready, log);
  const endUpkeep = keepUpHourly(database.orm, (err) => log.error({ err }, 'the upkeep of the database failed'));
  log.info({ ...ports, host: config.host, instance: config.instance }, 'serving');
  if (database.embedded) process.stdout.write(banner(config, ports));
  stopWhenAsked(log, database, async () => {
    stopping = true;
    unwatch();
    endUpkeep();
    server.setServing(false);
    if (config.drainDelayMs > 0) await retire(server, config.drainDelayMs);
    await Promise.all([server.grpc.close(GRACE_MS), server.http.close(GRACE_MS)]);
    server.close();
    keys.close();
    if (redis) closeRedis(redis);
    await database.close();
  });
}

/** kysely prints when a cancelled statement ends. Only the words before the first colon: what follows may quote a value. */
function logWhatLibrariesPrint(log: Logger): void {
  const print = (first: unknown) => log.debug({ printed: String(first).split(':')[0] }, 'printed by a library');
  console.error = print;
  console.warn = print;
}

function watchedRedis(url: string, log: Logger) {
  return openRedis(url, {
    warn: (problem) => log.warn({ problem }, 'Redis is away: this instance goes on with what it knows itself'),
    found: () => log.info('Redis answers'),
  });
}

async function readTls({ certFile, keyFile }: NonNullable<Config['tls']>) {
  const read = (name: string, file: string) =>
    readFile(file).catch((error: Error) => {
      throw new ConfigError(`${name}: ${file} can't be read: ${error.message}`);
    });
  const pair = { cert: await read('TLS_CERT_FILE', certFile), key: await read('TLS_KEY_FILE', keyFile) };
  try {
    createSecureContext(pair);
  } catch (error) {
    const why = (error as Error).message;
    throw new ConfigError(
      `TLS_CERT_FILE, TLS_KEY_FILE: ${certFile} and ${keyFile} must be a certificate and its key, both PEM: ${why}`,
    );
  }
  return pair;
}

async function listen({ grpc, http }: Server, { host, grpcPort, httpPort }: Config) {
  const on = (listener: Listener, name: string, port: number) =>
    listener.listen(host, port).catch((error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'another process uses it already' : error.message;
      throw new ConfigError(`${name}: can't listen on ${host}:${port}: ${why}. Choose another with ${name}=…, or HOST`);
    });
  return { grpcPort: await on(grpc, 'GRPC_PORT', grpcPort), httpPort: await on(http, 'HTTP_PORT', httpPort) };
}

/** Keeps the health service true: not serving while the database is away, and again when it is back. */
function watchHealth(server: Server, ready: () => Promise<Readiness>, log: Logger): () => void {
  let before: string | undefined;
  let stopped = false;
  const look = async () => {
    const { ready: now, reasons, warnings } = await ready();
    if (stopped) return;
    const told = JSON.stringify([now, warnings]);
    if (told !== before) {
      server.setServing(now);
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

/** SIGTERM and SIGINT drain and exit 0; a second one exits at once. What should never happen drains too, and exits 1. */
function stopWhenAsked(log: Logger, database: Database, drain: () => Promise<void>): void {
  let stopping = false;
  const stop = async (why: string, exitCode: number) => {
    if (stopping) process.exit(exitCode || 1);
    stopping = true;
    log.info({ why }, 'stopping');
    await drain().catch((error: unknown) => log.error({ err: error }, 'while stopping'));
    log.info('stopped');
    process.exit(exitCode);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(signal, 0));
  const unexpected = (error: unknown) => {
    log.fatal({ err: error }, 'an error that nobody expected');
    if (!stopping) void stop('unexpected error', 1);
  };
  process.on('unhandledRejection', unexpected);
  process.on('uncaughtException', unexpected);
  void database.lost.then(() => {
    if (!stopping) log.fatal('the embedded database has ended by itself');
    if (!stopping) void stop('database lost', 1);
  });
}

try {
  await main(readConfig());
} catch (error) {
  process.stderr.write(`\nAmrutam can't start: ${(error as Error).message}\n\n`);
  process.exit(1);
}
