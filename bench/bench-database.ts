import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { migrate } from '../src/db/migrate.ts';

/** A database with every migration. */
export interface BenchDatabase {
  readonly url: string;
  /** Runs one statement, each on the same connection. */
  query<R = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<R[]>;
  /** Drops it, open connections included. */
  close(): Promise<void>;
}

/** Makes one on the server of `admin`, whose user must be allowed to create databases and extensions. */
export async function createDatabase(admin: string): Promise<BenchDatabase> {
  const name = `bench_${randomBytes(6).toString('hex')}`;
  await once(admin, `CREATE DATABASE ${name}`);
  const url = Object.assign(new URL(admin), { pathname: `/${name}` }).toString();
  await migrate(url);
  const client = new pg.Client(url);
  await client.connect();
  return {
    url,
    query: async (text, values = []) => (await client.query(text, [...values])).rows,
    async close() {
      await client.end();
      await once(admin, `DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}

/** Runs one statement on a connection of its own and answers its rows. */
export async function once<R = Record<string, unknown>>(url: string, text: string): Promise<R[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query(text)).rows as R[];
  } finally {
    await client.end();
  }
}
