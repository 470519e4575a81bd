import { execFileSync, spawnSync } from 'node:child_process';
import { access, chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readConfig } from '../src/config.ts';
import { CONNECTIONS } from '../src/jobs/run-jobs.ts';
import { GRACE_MS } from '../src/serve.ts';
import { type Composed, type ComposedService, readCompose } from './support/compose.ts';
import { peakMemory } from './support/peak-memory.ts';
import { runCommand } from './support/process-service.ts';

/** Started once: they end before others begin. */
const ONCE = ['setup', 'migrate', 'administrator'];

let composed: Composed;
let services: [string, ComposedService][];
let secrets: string;
beforeAll(async () => {
  composed = await readCompose();
  services = Object.entries(composed.services);
  secrets = await mkdtemp(join(tmpdir(), 'amrutam-secrets-'));
});
afterAll(() => rm(secrets, { recursive: true }));

test('docker-compose reads it', () => {
  if (spawnSync('docker-compose', ['version']).error)
    return void process.stderr.write('NOT TESTED: docker-compose.yml by Compose itself, which is not on the PATH.\n');
  execFileSync('docker-compose', ['config', '--quiet'], { stdio: 'pipe' });
  const withMail = ['--file', 'docker-compose.yml', '--file', 'deploy/compose/mail.yml', 'config', '--quiet'];
  execFileSync('docker-compose', withMail, { stdio: 'pipe', env: { ...process.env, MAIL_FROM: 'a@clinic.example' } });
});

describe('every service', () => {
  test('may do nothing that it need not, has limits, and an image of one version', () => {
    for (const [name, service] of services) {
      expect([name, service]).toEqual([
        name,
        expect.objectContaining({
          read_only: true,
          cap_drop: ['ALL'],
          security_opt: ['no-new-privileges:true'],
          mem_limit: expect.stringMatching(/^\d+[mg]$/),
          cpus: expect.any(Number),
          pids_limit: expect.any(Number),
        }),
      ]);
      if (!service.build) expect(service.image).toMatch(/^docker\.io\/[\w./-]+:v?\d+\.\d+\.\d+$/);
    }
    const built = services.flatMap(([, { build }]) => (typeof build === 'object' ? Object.values(build.args) : []));
    for (const image of built) expect(image).toMatch(/^docker\.io\/library\/postgres:18\.\d+-bookworm$/);
    expect(built.length).toBeGreaterThan(0);
  });

  test('waits until what it needs is healthy, or done', () => {
    for (const [name, { depends_on: needs = {} }] of services) {
      for (const [other, { condition }] of Object.entries(needs)) {
        const wanted = ONCE.includes(other) ? 'service_completed_successfully' : 'service_healthy';
        expect([name, other, condition]).toEqual([name, other, wanted]);
        if (wanted === 'service_healthy') expect(composed.services[other]?.healthcheck?.test).toBeDefined();
      }
    }
    expect(Object.keys(composed.services.api?.depends_on ?? {})).toEqual(['migrate', 'redis']);
  });

  test('that is started once is needed by one that lasts: else `up --wait` takes its end for a failure', () => {
    const lasting = services.filter(([name]) => !ONCE.includes(name));
    const needed = lasting.flatMap(([, { depends_on: needs = {} }]) => Object.keys(needs));
    expect(needed).toEqual(expect.arrayContaining(ONCE));
    const once = services.filter(([, { restart }]) => restart === 'no').map(([name]) => name);
    expect(once.sort()).toEqual([...ONCE].sort());
  });

  test('mounts only what is here, or made', async () => {
    const mounts = services.flatMap(([, { volumes = [] }]) => volumes.map((mount) => mount.split(':')[0] as string));
    for (const from of mounts) {
      if (!from.startsWith('.')) expect(Object.keys(composed.volumes)).toContain(from);
      else if (!from.startsWith('./deploy/secrets')) await access(from);
    }
  });

  test('is reached from this machine alone, but for the balancer where the operator says so', async () => {
    const published = services.flatMap(([name, { ports = [] }]) => ports.map((port) => [name, port] as const));
    for (const [, port] of published) expect(port).toMatch(/^127\.0\.0\.1:/);
    const open = (await readFile('docker-compose.yml', 'utf8')).match(/^ +- \$\{PUBLISH:-127\.0\.0\.1\}.*$/gm);
    expect(open).toHaveLength(2);
    for (const name of ['calls', 'data', 'watch']) expect(composed.networks[name]).toMatchObject({ internal: true });
  });
});

describe('the service', () => {
  test('starts with this environment, once its secrets are made; made again they stay', async () => {
    const make = () => runCommand('create-secrets', { args: [secrets] });
    expect(await make()).toMatchObject({ code: 0, output: expect.stringMatching('Made in') });
    const file = async (name: string) => (await readFile(join(secrets, name), 'utf8')).trim();
    const before = await file('api/database-url');
    expect(await make()).toMatchObject({ code: 0, output: expect.stringMatching('Nothing to make') });
    expect(await file('api/database-url')).toBe(before);
    const env = Object.fromEntries(
      Object.entries(composed.services.api?.environment ?? {}).map(([name, value]) => [
        name,
        value?.replace('/run/secrets', secrets),
      ]),
    );
    const config = readConfig({ env });
    const { databaseUrl, redisUrl, jwtKeysFile, auditKeysFile } = config;
    expect(databaseUrl).toBe(`postgres://amrutam:${await file('postgres/amrutam-password')}@postgres:5432/amrutam`);
    expect(redisUrl).toBe(`redis://:${await file('redis/password')}@redis:6379`);
    expect(jwtKeysFile).toBe(join(secrets, 'api/jwt-keys.json'));
    expect(auditKeysFile).toBe(join(secrets, 'api/audit-keys.json'));
    const calls = composed.services.balancer?.networks as Record<string, { ipv4_address: string }>;
    expect(config.trustedProxies).toEqual([calls.calls?.ipv4_address]);
    expect({ ...config }).toMatchObject({ host: '0.0.0.0', grpcPort: 50051, httpPort: 8080 });
    const stop = Number.parseInt(composed.services.api?.stop_grace_period as string, 10) * 1_000;
    expect(stop).toBeGreaterThan(config.drainDelayMs + GRACE_MS + 2_000);
  });

  test('sends mails with deploy/compose/mail.yml and one more secret, by a network that leads out', async () => {
    const MAIL_FROM = 'Amrutam <no-reply@clinic.example>';
    const { services, networks } = await readCompose('deploy/compose/mail.yml', { MAIL_FROM });
    const url = join(secrets, 'smtp-url');
    await writeFile(url, 'smtps://user:a%40b@mail.example\n');
    const env = { ...composed.services.api?.environment, ...services.api?.environment };
    expect(env.SMTP_URL_FILE).toBe('/run/secrets/api/smtp-url'); // beside those of the service, which are mounted
    const named = Object.entries({ ...env, SMTP_URL_FILE: url }).map(([name, value]) => [
      name,
      value?.replace('/run/secrets', secrets),
    ]);
    expect(readConfig({ env: Object.fromEntries(named) }).mail).toMatchObject({
      smtp: { host: 'mail.example', login: { user: 'user', password: 'a@b' } },
      from: MAIL_FROM,
      publicUrl: undefined,
    });
    expect(networks).toEqual({ mail: {} });
    expect(services.api?.networks).toEqual(['mail']);
    expect(Object.keys(services)).toEqual(['api']);
  });

  test('finds a connection, however many instances the balancer takes', async () => {
    const config = await readFile('deploy/haproxy.cfg', 'utf8');
    const places = [...config.matchAll(/server-template api- (\d+) /g)].map(([, count]) => Number(count));
    expect(places).toHaveLength(2);
    const told = composed.services.postgres?.command?.find((one) => one.startsWith('max_connections=')) ?? '';
    const { databasePool } = readConfig({ env: {} });
    expect(Number(told.split('=')[1])).toBeGreaterThan(Math.max(...places) * (databasePool + CONNECTIONS));
  });

  test('and every other finds each secret that it is told to read, and those of nobody else', async () => {
    for (const [name, { volumes = [], ...service }] of services) {
      const told = [...JSON.stringify(service).matchAll(/\/run\/secrets\/([a-z]+)\/([a-z.-]+)/g)];
      const readers = new Set(told.map(([, reader]) => reader));
      const mounted = volumes.flatMap(
        (mount) => /^\.\/deploy\/secrets\/([a-z]+):\/run\/secrets\/\1:ro$/.exec(mount)?.[1] ?? [],
      );
      if (!['redis', 'postgres', 'alertmanager'].includes(name))
        expect([name, mounted.sort()]).toEqual([name, [...readers].sort()]);
      for (const [, reader = '', file = ''] of told) await access(join(secrets, reader, file));
    }
    const alertmanager = await readFile('deploy/alertmanager/alertmanager.yml', 'utf8');
    expect(composed.services.alertmanager?.volumes).toContain(
      './deploy/secrets/alertmanager:/run/secrets/alertmanager:ro',
    );
    await access(join(secrets, /secrets\/(alertmanager\/token)/.exec(alertmanager)?.[1] ?? 'nothing'));
    const redis = await readFile('deploy/compose/redis.conf', 'utf8');
    await access(join(secrets, /secrets\/(redis\/\S+)/.exec(redis)?.[1] ?? 'nothing'));
    const modes = ['api', 'api/database-url'].map(async (path) => (await stat(join(secrets, path))).mode & 0o777);
    expect(await Promise.all(modes)).toEqual([0o500, 0o400]);
  });

  test('finds its keys no newer after another start, by which they would sign later; only what is wrong is put right', async () => {
    const keys = join(secrets, 'api/jwt-keys.json');
    const url = join(secrets, 'api/database-url');
    await chmod(url, 0o644);
    const before = await stat(keys);
    expect(await runCommand('create-secrets', { args: [secrets] })).toMatchObject({ code: 0 });
    expect((await stat(keys)).ctimeMs).toBe(before.ctimeMs);
    expect((await stat(url)).mode & 0o777).toBe(0o400);
  });

  test('has more memory than it was seen to take under attack', async () => {
    const limit = Number.parseInt(composed.services.api?.mem_limit as string, 10);
    expect(composed.services.api?.mem_limit).toBe(`${limit}m`);
    expect(limit).toBeGreaterThan((await peakMemory()) * 1.3);
  });

  test('has no secret that git takes along where usage texts and docs put it', () => {
    const told = [
      'secrets/api/jwt-keys.json',
      'secrets/api/audit-keys.json',
      'secrets/postgres/cipher.conf',
      'deploy/secrets/api/redis-url',
    ];
    const files = [...told, 'keys.json', 'jwt-keys.json', 'audit-keys.json', 'production.keys.json', 'password.txt'];
    const { stdout } = spawnSync('git', ['check-ignore', '--no-index', ...files], { encoding: 'utf8' });
    expect(stdout.trim().split('\n')).toEqual(files);
  });

  test('is checked and started as its image says', async () => {
    const dockerfile = await readFile('Dockerfile', 'utf8');
    const probe = JSON.parse(/CMD (\[.*health.*\])/.exec(dockerfile)?.[1] ?? '[]') as string[];
    expect(composed.services.api?.healthcheck?.test).toEqual(['CMD', ...probe]);
    const { scripts, devDependencies } = JSON.parse(await readFile('package.json', 'utf8'));
    for (const [name, { command = [] }] of services)
      if (ONCE.includes(name) && command[0]) expect(Object.keys(scripts)).toContain(command[0]);
    expect(dockerfile).toContain(`FROM docker.io/library/node:${devDependencies.node}-bookworm-slim`);
  });
});
