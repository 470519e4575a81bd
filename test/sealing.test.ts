import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { sealFigures } from '../src/audit/seal-figures.ts';
import { forkFor } from '../src/db/statement.ts';
import { registerJobs } from '../src/jobs/lease.ts';
import { perform } from '../src/jobs/perform.ts';
import { createLog } from '../src/log.ts';
import { NOT_SEALED, sealingWith, watchedSeals } from '../src/sealing.ts';
import { eventually } from './support/eventually.ts';
import { person } from './support/people.ts';
import { endProcesses, failToStart, runCommand, type Service, startService } from './support/process-service.ts';
import { startServer, type TestServer } from './support/server.ts';

let server: TestServer;
let owner: pg.Client;
let folder: string;
let env: { DATABASE_URL: string; JWT_KEYS_FILE: string; AUDIT_KEYS_FILE: string };
let services: Service[] = [];

beforeAll(async () => {
  server = await startServer();
  owner = new pg.Client(server.url);
  await owner.connect();
  folder = await mkdtemp(join(tmpdir(), 'amrutam-sealing-'));
  env = {
    DATABASE_URL: server.url,
    JWT_KEYS_FILE: server.keysFile,
    AUDIT_KEYS_FILE: join(folder, 'audit-keys.json'),
  };
  expect(await runCommand('create-audit-keys', { args: [env.AUDIT_KEYS_FILE] })).toMatchObject({ code: 0 });
});

afterEach(async () => {
  for (const service of services) service.kill('SIGKILL');
  await Promise.all(services.map(({ ended }) => ended));
  services = [];
});

afterAll(async () => {
  endProcesses();
  await owner.end();
  await server.stop();
  await rm(folder, { recursive: true });
});

const serve = async (given: Partial<typeof env> & Record<string, string> = {}) => {
  const service = await startService({ ...env, ...given });
  services.push(service);
  return service;
};
const figures = () => sealFigures(forkFor(server.orm));
const queue = () => owner.query(`SELECT graphile_worker.add_job('seal-audit-log')`);
const verify = (...args: string[]) => runCommand('verify-audit', { env, args });

/** So many rows, each of a transaction of its own. */
const written = (count: number) =>
  owner.query(`DO $$ BEGIN FOR i IN 1..${count} LOOP
    INSERT INTO audit_event (id, recorded_at, action, outcome, reason, entity_type, trace_id, client_address, instance, changed_fields, xid)
    VALUES (gen_random_uuid(), clock_timestamp(), 'Test', 'DONE', '', '', '', '', '', '{}', pg_current_xact_id());
    COMMIT; END LOOP; END $$`);

test('instances seal what is written, tell each seal in their logs, and one that is killed in the middle leaves a whole chain', async () => {
  await written(12_000);
  await owner.query(
    `CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END $$`,
  );
  await owner.query('CREATE TRIGGER slow BEFORE INSERT ON audit_seal FOR EACH ROW EXECUTE FUNCTION slowly()');
  const [one, two] = [await serve(), await serve()];
  await queue();
  const working = () => [one, two].find((service) => service.output().includes('"msg":"the audit log is sealed"'));
  await eventually(async () => working() !== undefined);
  working()?.kill('SIGKILL');
  await working()?.ended;
  const halfway = await verify();
  expect(halfway).toMatchObject({
    code: 0,
    output: expect.stringMatching(/^The audit log is as it was sealed: \d+000 rows, seals 1 to/),
  });
  expect((await figures()).unsealed).toBeGreaterThan(0);
  await owner.query('DROP TRIGGER slow ON audit_seal');
  // Its lease ends by itself after a while; here it is ended.
  await owner.query(`UPDATE job SET holder = NULL`);
  await owner.query(
    `SELECT graphile_worker.force_unlock_workers(array_agg(locked_by)) FROM graphile_worker.jobs WHERE locked_by IS NOT NULL`,
  );
  await eventually(async () => (await figures()).unsealed === 0);
  const { head } = await figures();
  const said = () =>
    [one, two].flatMap((service) => [...service.output().matchAll(/"seal":(\d+),"root":"([\da-f]{64})"/g)]);
  await eventually(async () =>
    said().some(([, number, root]) => Number(number) === head?.number && root === head?.root),
  );
  expect(new Set(said().map(([, number]) => number)).size).toBe(said().length);
  const all = await verify('--head', `${head?.number}:${head?.root}`);
  expect(all.output).toMatch(
    /^The audit log is as it was sealed: 12\d{3} rows, seals 1 to \d+\. Not sealed yet: \d+ rows/,
  );
  expect(all.output).toContain(`--head ${head?.number}:${head?.root}`);
  expect(all.code).toBe(0);
}, 90_000);

test('an operator is told what an owner has done to it', async () => {
  const { head } = await figures();
  const remembered = `${head?.number}:${head?.root}`;
  await owner.query(`SET session_replication_role = replica`);
  await owner.query(`DELETE FROM audit_seal WHERE number = $1`, [head?.number]);
  expect(await verify('--head', remembered)).toMatchObject({ code: 1, output: expect.stringContaining('HEAD_GONE') });
  const { rows } = await owner.query(
    `UPDATE audit_event SET action = 'Other' WHERE id = (SELECT id FROM audit_event ORDER BY xid OFFSET 2500 LIMIT 1) RETURNING id`,
  );
  await owner.query(`SET session_replication_role = origin`);
  const told = await verify();
  expect(told.output).toMatch(/^THE AUDIT LOG IS NOT AS IT WAS SEALED: CHANGED_ROW at seal 3: /);
  expect(told.output).toContain(rows[0].id);
  expect(told.code).toBe(1);
});

test('nonsense for a remembered end is refused', async () => {
  for (const args of [
    ['--head'],
    ['--head', '12'],
    ['--tail', `1:${'0'.repeat(64)}`],
    ['--head', `1:${'g'.repeat(64)}`],
  ])
    expect(await verify(...args)).toMatchObject({ code: 1, output: expect.stringMatching(/^Usage: /) });
});

test('without keys it serves, says so wherever somebody looks, and seals nothing; what it writes is sealed later', async () => {
  const service = await serve({ AUDIT_KEYS_FILE: '' });
  expect(service.output()).toContain(NOT_SEALED);
  const ready = await fetch(`http://127.0.0.1:${service.httpPort}/readyz`);
  expect([ready.status, await ready.text()]).toEqual([200, expect.stringContaining('AUDIT_KEYS_FILE is missing')]);
  await person(server, 'PATIENT');
  const metrics = await (await fetch(`http://127.0.0.1:${service.metricsPort}/metrics`)).text();
  expect(metrics).toMatch(/^audit_seal_number \d+$/m);
  expect(metrics).toMatch(/^audit_unsealed_seconds 0?\.?\d+/m);
  expect(metrics).not.toContain('seal-audit-log');
  expect(await verify()).toMatchObject({ code: 1 }); // changed above
});

/** A run of the job by hand, of an instance that lives on; answers how many rows it has sealed. Other tests' transactions hold it back. */
function sealer(turnMs?: number) {
  const logged: string[] = [];
  const job = sealingWith(
    env.AUDIT_KEYS_FILE,
    createLog('info', { write: (line: string) => void logged.push(line) }),
    turnMs,
  );
  const run = async () => {
    await registerJobs(server.orm, [job.name]);
    const { signal } = new AbortController();
    for (;;) {
      const { changed } = await perform(job, { orm: server.orm, holder: randomUUID(), leaseMs: 30_000, signal });
      if (changed > 0) return changed;
    }
  };
  return { run, logged };
}

test('where much is to be sealed, others have their turn in between, and then it goes on', async () => {
  const waits = async () =>
    (
      await owner.query(
        `SELECT key, run_at <= now() AS due FROM graphile_worker.jobs WHERE task_identifier = 'seal-audit-log'`,
      )
    ).rows;
  await owner.query(`DELETE FROM graphile_worker._private_jobs`);
  await written(2_500);
  const { run } = sealer(0);
  expect(await run()).toBe(1_000);
  expect(await waits()).toEqual([{ key: 'seal-audit-log', due: true }]);
  while ((await figures()).unsealed > 0) {
    await owner.query(`DELETE FROM graphile_worker._private_jobs`);
    await run();
  }
  expect(await waits()).toEqual([]);
});

test('whoever made a seal tells when it was replaced by another of the same number', async () => {
  const { run, logged } = sealer();
  const lost = () => logged.filter((line) => line.includes('not as it was sealed here'));
  await written(3);
  await run();
  const { head } = await figures();
  await written(1);
  await run();
  expect(lost()).toEqual([]);
  await owner.query(`SET session_replication_role = replica`);
  await owner.query(`DELETE FROM audit_seal WHERE number > $1`, [head?.number]);
  await owner.query(
    `UPDATE audit_event SET action = 'Other' WHERE id = (SELECT id FROM audit_event ORDER BY xid DESC LIMIT 1)`,
  );
  await owner.query(`SET session_replication_role = origin`);
  await sealer().run(); // another instance, which knows of nothing
  expect((await figures()).head?.number).toBe((head?.number ?? 0) + 1);
  await written(1);
  await run();
  expect(lost()).toHaveLength(1);
  expect(JSON.parse(lost()[0] ?? '')).toMatchObject({ level: 50, seal: (head?.number ?? 0) + 1 });
});

test('with keys that are none it does not start', async () => {
  const ended = await failToStart({ ...env, AUDIT_KEYS_FILE: server.keysFile });
  expect(ended).toMatchObject({
    code: 1,
    output: expect.stringMatching(/AUDIT_KEYS_FILE: .*keys\[0\] must be of kty "OKP"/),
  });
  const missing = await failToStart({ ...env, AUDIT_KEYS_FILE: join(folder, 'nowhere.json') });
  expect(missing).toMatchObject({ code: 1, output: expect.stringMatching(/AUDIT_KEYS_FILE: .*can't be read/) });
});

test('keys are replaced by a command, and the older ones can only verify from then on', async () => {
  const rotated = await runCommand('rotate-audit-keys', { args: [env.AUDIT_KEYS_FILE] });
  expect(rotated).toMatchObject({ code: 0, output: expect.stringMatching(/1 older that only verify/) });
  expect(await runCommand('create-audit-keys', { args: [env.AUDIT_KEYS_FILE] })).toMatchObject({ code: 1 });
  expect((await verify()).output).toContain('CHANGED_ROW at seal 3'); // not: unknown key
});

test('figures that do not come in time are none', async () => {
  const locker = new pg.Client(server.url);
  await locker.connect();
  await locker.query('BEGIN; LOCK TABLE audit_seal');
  expect(await watchedSeals(server.orm)()).toBeUndefined();
  await locker.end();
  expect(await watchedSeals(server.orm)()).toMatchObject({ head: { number: expect.any(Number) } });
});
