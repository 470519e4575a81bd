import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { startPostgres } from '../../faults/postgres.ts';
import { startProxy, type TcpProxy } from '../../faults/proxy.ts';
import { type Composed, readCompose } from '../../test/support/compose.ts';
import { freePort } from '../../test/support/free-port.ts';
import type { Ports } from '../../test/support/process-client.ts';
import { type Given, start } from './container.ts';
import { run } from './run.ts';

/** The image, with the database, the Redis and the secrets that docker-compose.yml gives it. */
export interface Scene {
  readonly image: string;
  readonly composed: Composed;
  /** Between the containers and PostgreSQL. */
  readonly proxy: TcpProxy;
  /** What the service `api` is given, to serve on `ports`. */
  readonly given: Given;
  readonly ports: Ports;
  /** Where its user may write, at `/own`. */
  readonly own: Readonly<Record<string, string>>;
}

/** The user of the image. */
const USER = 1000;

/** Runs `checks` with a new and empty database, made as docker-compose.yml has it made. */
export async function inScene(image: string, checks: (scene: Scene) => Promise<void>): Promise<void> {
  const composed = await readCompose();
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-image-'));
  const secrets = await mkdtemp(join(tmpdir(), 'amrutam-image-secrets-'));
  const own = join(secrets, 'own');
  await mkdir(own);
  await chown(own, USER, USER);
  await makeSecrets(image, composed, secrets);
  const postgres = await startPostgres(folder, ['fsync=off']);
  const proxy = await startProxy(() => postgres.port);
  const redis = await startRedis(secrets);
  try {
    await postgres.query('DROP DATABASE amrutam');
    await createDatabase(postgres.url(), secrets);
    await moved(join(secrets, 'api/database-url'), 'postgres:5432', `127.0.0.1:${proxy.port}`);
    await moved(join(secrets, 'api/redis-url'), 'redis:6379', `127.0.0.1:${redis.port}`);
    const ports = { grpcPort: await freePort(), httpPort: await freePort() };
    const here = {
      HOST: '127.0.0.1',
      GRPC_PORT: `${ports.grpcPort}`,
      HTTP_PORT: `${ports.httpPort}`,
      METRICS_PORT: '0',
      OTEL_EXPORTER_OTLP_ENDPOINT: null, // nobody collects
    };
    const env = { ...composed.services.api?.environment, ...here };
    const folders = { '/run/secrets/api': join(secrets, 'api') };
    await checks({ image, composed, proxy, ports, given: { env, folders }, own: { '/own': own } });
  } finally {
    redis.child.kill('SIGKILL');
    proxy.close();
    await postgres.end();
    for (const used of [folder, secrets]) await rm(used, { recursive: true });
  }
}

async function makeSecrets(image: string, { services }: Composed, folder: string): Promise<void> {
  const { command = [], user, cap_add: capabilities } = services.setup ?? {};
  const given = { user, capabilities, folders: { '/secrets': folder } };
  assert.match(await printed(image, command, given), /^Made in \/secrets: /);
  await printed(image, ['rotate-keys', '/secrets/api/jwt-keys.json'], given);
  assert.match(await printed(image, command, given), /^Nothing to make/);
  for (const file of ['jwt-keys.json', 'audit-keys.json', 'database-url']) {
    const { uid, mode } = await stat(join(folder, 'api', file));
    assert.deepEqual([file, uid, mode & 0o777], [file, USER, 0o400]);
  }
}

/** As the entrypoint of the image of PostgreSQL does when the database is new. */
async function createDatabase(url: string, secrets: string): Promise<void> {
  const { hostname, port, username, password } = new URL(url);
  const server = { PGHOST: hostname, PGPORT: port, PGUSER: username, PGPASSWORD: password };
  const env = { ...process.env, ...server, SECRETS: join(secrets, 'postgres') };
  run('deploy/compose/create-database.sh', [], { env });
}

/** With the configuration of docker-compose.yml, but for where its secret and its door are. */
async function startRedis(secrets: string): Promise<{ readonly port: number; readonly child: ChildProcess }> {
  const config = join(secrets, 'redis.conf');
  await writeFile(config, await readFile('deploy/compose/redis.conf', 'utf8'));
  await moved(config, '/run/secrets', secrets);
  const port = await freePort();
  const child = spawn('redis-server', [config, '--port', `${port}`, '--bind', '127.0.0.1'], {
    cwd: tmpdir(),
    stdio: 'ignore',
  });
  await Promise.race([once(child, 'spawn'), once(child, 'error').then(([error]) => Promise.reject(error))]);
  return { port, child };
}

async function moved(file: string, from: string, to: string): Promise<void> {
  const text = await readFile(file, 'utf8');
  assert.ok(text.includes(from), `${resolve(file)} has no ${from}`);
  await writeFile(file, text.replace(from, to));
}

/** What a command of the image prints. Throws an Error unless it ends well. */
export async function printed(image: string, command: readonly string[], given?: Given): Promise<string> {
  const { code, output } = await start(image, command, given).ended;
  assert.equal(code, 0, `${command.join(' ')}: ${output}`);
  return output;
}
