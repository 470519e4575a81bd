import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Postgres, startPostgres } from '../faults/postgres.ts';
import { migrate } from '../src/db/migrate.ts';

/** Where SQL stands that somebody types at night. */
const PAGES = [
  ...(await readdir('docs/runbook')).map((file) => `runbook/${file}`),
  'operations.md',
  'restore.md',
  'failover.md',
];

/** A block of SQL in a page. */
interface Block {
  readonly page: string;
  readonly sql: string;
}

let folder: string;
let postgres: Postgres;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'amrutam-runbook-'));
  postgres = await startPostgres(folder, ['fsync=off', 'shared_preload_libraries=pg_stat_statements']);
}, 60_000);

afterAll(async () => {
  await postgres?.end();
  await rm(folder, { recursive: true, force: true });
});

/** Blocks, and what stands within a sentence: there a function alone, such as one that is given a PID, is a word of it. */
async function blocks(): Promise<Block[]> {
  const pages = await Promise.all(
    PAGES.map(async (page) => ({ page, text: await readFile(join('docs', page), 'utf8') })),
  );
  return pages.flatMap(({ page, text }) => {
    const fenced = [...text.matchAll(/^( *)```sql\n([\s\S]*?)^\1```$/gm)].map(([, , sql = '']) => sql);
    const rest = text.replaceAll(/^( *)```[\s\S]*?^\1```$/gm, '');
    const inline = [...rest.matchAll(/`((?:SELECT|UPDATE|DELETE|INSERT|WITH) [^`]*)`/g)].map(([, sql = '']) => sql);
    return [...fenced, ...inline.filter((sql) => /\bFROM\b|\w+\.\w+\(/.test(sql))].map((sql) => ({ page, sql }));
  });
}

/** A database whose only clinic has that schema, and a name of the database as the pages have it. */
async function clinicIn(schema: string): Promise<pg.Client> {
  await postgres.query('DROP DATABASE IF EXISTS amrutam WITH (FORCE)');
  await postgres.query('CREATE DATABASE amrutam');
  const admin = new pg.Client(postgres.url('amrutam'));
  await admin.connect();
  await admin.query('CREATE EXTENSION btree_gist; CREATE EXTENSION pg_trgm; CREATE EXTENSION pg_stat_statements');
  if (schema !== 'public') await admin.query(`CREATE SCHEMA ${schema}`);
  const role = `owner_of_${schema}`;
  await admin.query(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD '${role}'`);
  await admin.query(`ALTER ROLE ${role} SET search_path = ${schema}, public`);
  const url = new URL(postgres.url('amrutam'));
  await migrate(Object.assign(url, { username: role, password: role }).toString());
  await admin.query(`SET search_path = ${schema}, public`);
  return admin;
}

describe.each(['public', 'clinic_7'])('of a clinic in the schema %s', (schema) => {
  test('every statement in the runbook and the pages of operations does what it says', async () => {
    const client = await clinicIn(schema);
    const worker = schema === 'public' ? 'graphile_worker' : `${schema}_worker`;
    await client.query(`SELECT ${worker}.add_job('purge-answers', run_at => now() + interval '1 day')`);
    const found = await blocks();
    expect(found.length).toBeGreaterThanOrEqual(10);
    const run = [];
    for (const { page, sql } of found) {
      // As in a new session each time.
      await client.query(`SET search_path = ${schema}, public`);
      const results = await client.query(sql).then(
        (answer) => [answer].flat(),
        (error: Error) => error.message,
      );
      run.push([page, typeof results === 'string' ? results : 'done']);
    }
    expect(run).toEqual(found.map(({ page }) => [page, 'done']));
    const [sooner] = (await client.query(`SELECT run_at <= now() AS due FROM ${worker}.jobs`)).rows;
    expect(sooner).toEqual({ due: true });
    await client.end();
  }, 60_000);
});
