import pg from 'pg';
import { type BackendKey, cancelStatement } from './cancel-statement.ts';
import { type DatabaseOptions, poolOptions } from './orm.ts';
import { READ_ONLY } from './pool.ts';
import { clientWatchedBy } from './pooled-client.ts';
import { createPreparedNames } from './prepared.ts';

/**
 * Connections for a library that takes a pool of pg's own. They end as those of `createPool` do: when they are silent for too
 * long, and all of them, also one that only listens, when their server became read-only. `warn` is told of those that break.
 */
export function createPlainPool(
  database: Omit<DatabaseOptions, 'patient' | 'warn'>,
  warn: (message: string) => void,
): pg.Pool {
  const { statementMs, ...options } = poolOptions(database);
  const clients = new Set<pg.PoolClient>();
  const names = createPreparedNames();
  names.giveUp(); // so that it is of no matter which pooler is in between
  const watch = {
    statementMs: statementMs as number, // who isn't patient has one
    onLate() {},
    onGone(error: unknown) {
      if ((error as { code?: string }).code !== READ_ONLY) return;
      for (const client of clients)
        (client as unknown as pg.Client).connection.stream.destroy(new Error('no longer wanted'));
    },
    cancel: (key: BackendKey) => cancelStatement(options, key),
  };
  const Client = clientWatchedBy(watch, names);
  const pool = new PlainPool({ ...options, Client });
  pool.on('connect', (client) => {
    clients.add(client);
    client.on('error', (error) => warn(`connection: ${error.message}`));
  });
  pool.on('remove', (client) => void clients.delete(client));
  pool.on('error', (error) => warn(`idle connection: ${error.message}`));
  return pool;
}

/** pg's own asks with a callback, which our connections don't take. */
class PlainPool extends pg.Pool {
  override query(...asked: never[]): never {
    return this.#ask(...(asked as unknown as Parameters<pg.Client['query']>)) as never;
  }

  async #ask(...asked: Parameters<pg.Client['query']>): Promise<unknown> {
    const client = await this.connect();
    try {
      return await client.query(...asked);
    } finally {
      client.release();
    }
  }
}
