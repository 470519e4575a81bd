import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Embedded, startEmbedded } from '../src/db/embedded.ts';

/** With what must be quoted in SQL, in a shell, or for psql. */
const PASSWORD = `it's "$HOME" \`id\` \\ :'file'`;

const psql = spawnSync('sh', ['-c', 'command -v psql'], { encoding: 'utf8' }).stdout.trim();

let folder: string;
let server: Embedded;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'amrutam-create-database-'));
  server = await startEmbedded({ dataDir: join(folder, 'data'), flags: ['fsync=off'] });
});
afterAll(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, maxRetries: 5 });
});

/** Runs deploy/compose/create-database.sh with a psql that first writes down what it was started with. */
async function createDatabase(secrets: string) {
  const bin = join(folder, 'bin');
  await mkdir(bin, { recursive: true });
  await writeFile(join(bin, 'psql'), `#!/bin/sh\nprintf '%s\\n' "$@" >"${folder}/started-with"\nexec ${psql} "$@"\n`, {
    mode: 0o755,
  });
  const { hostname, port, username, password } = new URL(server.url);
  const { status, stderr } = spawnSync('deploy/compose/create-database.sh', [], {
    encoding: 'utf8',
    env: {
      PATH: `${bin}${delimiter}${process.env.PATH}`,
      SECRETS: secrets,
      PGHOST: hostname,
      PGPORT: port,
      PGUSER: username,
      PGPASSWORD: password,
    },
  });
  return { status, stderr };
}

test('a new database belongs to its user, whose password no list of processes shows', async () => {
  if (!psql)
    return void process.stderr.write('NOT TESTED: create-database.sh, because there is no psql on the PATH.\n');
  const secrets = join(folder, "the user's secrets");
  await mkdir(secrets);
  expect(await createDatabase(secrets)).toMatchObject({ status: 1, stderr: expect.stringMatching('missing or empty') });
  const admin = new pg.Client(Object.assign(new URL(server.url), { pathname: '/postgres' }).toString());
  await admin.connect();
  await admin.query('DROP DATABASE amrutam');
  await admin.end();
  await writeFile(join(secrets, 'amrutam-password'), `${PASSWORD}\n`);
  expect(await createDatabase(secrets)).toEqual({ status: 0, stderr: '' });
  const startedWith = await readFile(join(folder, 'started-with'), 'utf8');
  expect(startedWith).toMatch('--no-psqlrc');
  expect(startedWith).not.toMatch('HOME');

  const { hostname: host, port } = new URL(server.url);
  const as = (password: string, database = 'amrutam') =>
    new pg.Client({ host, port: Number(port), user: 'amrutam', password, database });
  const user = as(PASSWORD);
  await user.connect();
  await user.query('CREATE TABLE own (id int)');
  await user.end();
  await expect(as('another').connect()).rejects.toThrow('password authentication failed');
  await expect(as(PASSWORD, 'postgres').connect()).rejects.toThrow('permission denied');
});
