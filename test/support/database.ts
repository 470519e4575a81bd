import { randomBytes } from 'node:crypto';
import pg from 'pg';

/** The variable that tells test files where the server is. */
export const ADMIN_URL = 'AMRUTAM_TEST_ADMIN_URL';
/** The migrated, empty database that is cloned. */
export const TEMPLATE = 'amrutam_template';

/** A database of one test file. */
export interface TestDatabase {
  readonly url: string;
  /** Drops it, open connections included. */
  drop(): Promise<void>;
}

/** URL of another database of the same server. */
export function databaseUrl(name: string): string {
  const url = new URL(process.env[ADMIN_URL] as string);
  url.pathname = `/${name}`;
  return url.toString();
}

/** A migrated, empty database; `template0` for one without any schema. */
export async function freshDatabase(template = TEMPLATE): Promise<TestDatabase> {
  const name = `test_${randomBytes(8).toString('hex')}`;
  await run(`CREATE DATABASE ${name} TEMPLATE ${template}`);
  return { url: databaseUrl(name), drop: () => run(`DROP DATABASE ${name} WITH (FORCE)`) };
}

/** Two clones of one template at once can collide for a moment. */
async function run(sql: string, tries = 20): Promise<void> {
  const client = new pg.Client(process.env[ADMIN_URL]);
  await client.connect();
  try {
    await client.query(sql);
  } catch (error) {
    if (tries === 0 || !(error as Error).message.includes('is being accessed by other users')) throw error;
    await new Promise((resolve) => setTimeout(resolve, 100));
    await run(sql, tries - 1);
  } finally {
    await client.end();
  }
}
