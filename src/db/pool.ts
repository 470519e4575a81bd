import type { PostgresPool, PostgresPoolClient } from 'kysely';
import pg from 'pg';
import { isGone } from './database-error.ts';
import { patience } from './patience.ts';
import { clientWatchedBy } from './pooled-client.ts';
import type { Presence } from './presence.ts';

/** How the pool reaches the database. */
export interface PoolOptions extends pg.PoolConfig {
  /** Milliseconds for a free connection, and for a new one to be made, TLS and password included. */
  readonly connectionTimeoutMillis: number;
  /** Milliseconds that the server gives a statement; absent: without end, and then nothing here bounds it either. */
  readonly statementMs?: number | undefined;
}

/**
 * A pool that survives what databases and networks do: connections that are silent for too long, and those of a server
 * that is going or became read-only, are never given out again; while no database is there callers are told at once
 * instead of each waiting for it; and who no longer waits gets no connection.
 */
export function createPool(
  { statementMs, ...options }: PoolOptions,
  presence: Presence,
  warn: (message: string) => void,
): PostgresPool {
  const onGone = (error: unknown) => {
    presence.doubt();
    if ((error as { code?: string }).code === READ_ONLY) dismissAll();
  };
  const Client =
    statementMs === undefined ? pg.Client : clientWatchedBy({ statementMs, onLate: () => presence.doubt(), onGone });
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
  return { connect: () => connect(pool, presence), end: () => pool.end(), options: pool.options };
}

/** SQLSTATE of a write on what is, or has become, a standby. */
const READ_ONLY = '25006';

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
    const stay = () => signal.removeEventListener('abort', leave);
    coming.then(resolve, reject).finally(stay);
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
    if (unwanted.has(client)) end(client);
    else idle.add(client);
  });
  pool.on('remove', (client) => {
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

/** Resolves when a server lets us in, or answers at all: one that has no room for another connection is there. */
export async function knock({ statementMs: _, ...options }: PoolOptions): Promise<void> {
  const client = new pg.Client({ ...options, application_name: 'amrutam knock' });
  client.on('error', () => {});
  try {
    await client.connect();
  } catch (error) {
    if (isGone(error)) throw error;
  } finally {
    client.end().catch(() => {});
    client.connection.stream.destroy();
  }
}
