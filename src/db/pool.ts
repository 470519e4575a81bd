import type { PostgresPool, PostgresPoolClient } from 'kysely';
import pg from 'pg';
import { cancelStatement, unanswered } from './cancel-statement.ts';
import { isGone } from './database-error.ts';
import { patience } from './patience.ts';
import { clientWatchedBy } from './pooled-client.ts';
import { createPreparedNames, type PreparedNames } from './prepared.ts';
import { createPresence, type Presence } from './presence.ts';

/** How the pool reaches the database. */
export interface PoolOptions extends pg.PoolConfig {
  /** Milliseconds for a free connection, and for a new one to be made, TLS and password included. */
  readonly connectionTimeoutMillis: number;
  /** Milliseconds that the server gives a statement; absent: without end, and then nothing here bounds it either. */
  readonly statementMs?: number | undefined;
}

/** Connections: given out, or being made; free; and how many there may be. */
export interface PoolLoad {
  readonly inUse: number;
  readonly idle: number;
  readonly limit: number;
}

/**
 * A pool that survives what databases and networks do: connections that are silent for too long, and those of a server
 * that is going or became read-only, are never given out again; while no database is there callers are told at once
 * instead of each waiting for it; and who no longer waits gets no connection.
 */
export function createPool(
  { statementMs, ...options }: PoolOptions,
  warn: (message: string) => void,
): {
  readonly pool: PostgresPool;
  readonly presence: Presence;
  readonly names: PreparedNames;
  readonly load: () => PoolLoad;
} {
  const names = createPreparedNames();
  const presence = createPresence(() => ask(pool, options));
  const onGone = (error: unknown) => {
    presence.doubt();
    if ((error as { code?: string }).code === READ_ONLY) dismissAll();
  };
  const Client =
    statementMs === undefined
      ? pg.Client
      : clientWatchedBy(
          { statementMs, onLate: () => presence.doubt(), onGone, cancel: (key) => cancelStatement(options, key) },
          names,
        );
  const pool = new pg.Pool({ ...options, Client });
  const dismissAll = dismissal(pool);
  // Without listeners a connection that the server drops would end the process; its statement rejects on its own.
  pool.on('connect', (client) =>
    client.on('error', (error) => {
      presence.doubt();
      warn(`connection: ${error.message}`);
    }),
  );
  pool.on('error', (error) => {
    presence.doubt();
    warn(`idle connection: ${error.message}`);
  });
  const given = { connect: () => connect(pool, presence), end: () => pool.end(), options: pool.options };
  const load = () => ({ inUse: pool.totalCount - pool.idleCount, idle: pool.idleCount, limit: pool.options.max ?? 0 });
  return { pool: given, presence, names, load };
}

/** Milliseconds that a free connection has to answer when it is doubtful whether there is a database. */
const ANSWER_MS = 1_000;
/** Milliseconds that a new connection has to answer. */
const KNOCK_MS = 2_000;
/** SQLSTATE of a write on what is, or has become, a standby. */
export const READ_ONLY = '25006';

async function connect(pool: pg.Pool, presence: Presence): Promise<PostgresPoolClient> {
  const { signal } = patience();
  await presence.check();
  signal?.throwIfAborted();
  const coming = pool.connect();
  coming.catch((error: unknown) => {
    if (isGone(error)) presence.doubt();
  });
  return (await (signal ? unlessAborted(coming, signal) : coming)) as PostgresPoolClient;
}

/** A connection that comes when nobody waits any more goes back unused. */
function unlessAborted(coming: Promise<pg.PoolClient>, signal: AbortSignal): Promise<pg.PoolClient> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      reject(signal.reason);
      coming.then((client) => client.release()).catch(() => {});
    };
    signal.addEventListener('abort', leave, { once: true });
    // In the callback that gives it out: an abort in between would take it back from whoever has it.
    const stay = () => signal.removeEventListener('abort', leave);
    coming.then(
      (client) => {
        stay();
        resolve(client);
      },
      (error: unknown) => {
        stay();
        reject(error);
      },
    );
  });
}

/** Has all connections of the pool made anew: those in use when they come back. The old leader isn't asked again. */
function dismissal(pool: pg.Pool): () => void {
  const idle = new Set<pg.PoolClient>();
  const inUse = new Set<pg.PoolClient>();
  const unwanted = new WeakSet<pg.PoolClient>();
  pool.on('acquire', (client) => {
    idle.delete(client);
    inUse.add(client);
  });
  pool.on('release', (_error, client) => {
    inUse.delete(client);
    if (unwanted.has(client) || mayBeCancelled(client)) end(client);
    else idle.add(client);
  });
  pool.on('remove', (client) => {
    mayBeCancelled(client);
    idle.delete(client);
    inUse.delete(client);
  });
  return () => {
    for (const client of inUse) unwanted.add(client);
    for (const client of idle)
      (client as unknown as pg.Client).connection.stream.destroy(new Error('no longer wanted'));
    idle.clear();
  };
}

/** The pool takes no connection back that has been ended. Not politely: nobody may be there to say goodbye to. */
function end(client: pg.PoolClient): void {
  const ending = client as unknown as pg.Client;
  ending.end().catch(() => {});
  ending.connection.stream.destroy();
}

/** A cancel that was sent for its last statement may still come, and would hit the next one. */
function mayBeCancelled(client: pg.PoolClient): boolean {
  return unanswered.delete((client as unknown as { processID: number }).processID);
}

/** Resolves when the database answers on a connection that is free, or else lets a new one in. */
async function ask(pool: pg.Pool, options: pg.ClientConfig): Promise<void> {
  if (!(await answersOnFree(pool))) await knock(options);
}

async function answersOnFree(pool: pg.Pool): Promise<boolean> {
  if (pool.idleCount === 0) return false;
  const client = await pool.connect();
  const silent = Promise.withResolvers<never>();
  const timer = setTimeout(() => silent.reject(new Error('silent')), ANSWER_MS);
  try {
    await Promise.race([client.query('SELECT 1'), silent.promise]);
    return true;
  } catch {
    end(client);
    return false;
  } finally {
    clearTimeout(timer);
    client.release();
  }
}

/**
 * Resolves when a server lets us in and answers, or refuses us: one that has no room for another connection is there. A pooler
 * lets us in whether or not there is a server behind it.
 */
async function knock(options: pg.ClientConfig): Promise<void> {
  const client = new pg.Client({ ...options, application_name: 'amrutam knock', query_timeout: KNOCK_MS });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('SELECT 1');
  } catch (error) {
    if (isGone(error)) throw error;
  } finally {
    client.end().catch(() => {});
    client.connection.stream.destroy();
  }
}
