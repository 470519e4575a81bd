import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { type Embedded, startEmbedded } from '../src/db/embedded.ts';
import { migrate } from '../src/db/migrate.ts';
import { ADMIN_URL, databaseUrl, TEMPLATE } from './support/database.ts';

declare global {
  /** The server that the tests run on, when it is ours. */
  var embedded: { readonly server: Embedded; readonly dataDir: string } | undefined;
}

/**
 * One PostgreSQL for all test files, with a migrated template that each file clones. TEST_DATABASE_URL names another
 * server, to run the tests on another version; its user must be allowed to make databases and extensions.
 */
export default async function setUp(): Promise<void> {
  const given = process.env.TEST_DATABASE_URL;
  if (!given) {
    const dataDir = await mkdtemp(join(tmpdir(), 'amrutam-test-'));
    const flags = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'max_connections=300'];
    globalThis.embedded = { server: await startEmbedded({ dataDir, flags }), dataDir };
  }
  process.env[ADMIN_URL] = given ?? globalThis.embedded?.server.url;
  const admin = new pg.Client(process.env[ADMIN_URL]);
  await admin.connect();
  await admin.query(`DROP DATABASE IF EXISTS ${TEMPLATE}`);
  await admin.query(`CREATE DATABASE ${TEMPLATE}`);
  await admin.end();
  await migrate(databaseUrl(TEMPLATE));
}
