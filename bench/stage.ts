import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { openSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startPostgres } from '../faults/postgres.ts';
import { type AccessTokens, createAccessTokens } from '../src/auth/access-token.ts';
import { createKeyFile, openSigningKeys } from '../src/auth/signing-keys.ts';
import { migrate } from '../src/db/migrate.ts';
import { type Load, startLoad } from './load.ts';

const ROOT = resolve(import.meta.dirname, '..');
const JWT = { issuer: 'amrutam', audience: 'amrutam' };
const START_MS = 60_000;
/** Of the database that is brought along: durable as in production, with room enough that no check point falls into each round. */
const SETTINGS = [
  'synchronous_commit=on',
  'fsync=on',
  'shared_buffers=1GB',
  'max_wal_size=8GB',
  'checkpoint_timeout=30min',
];

/** The service, as a process of its own whose output goes to a file. */
export interface Instance {
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly pid: number;
  /** Milliseconds from its start until it served. */
  readonly startMs: number;
  stop(): Promise<void>;
}

/** A database with every migration. */
export interface BenchDatabase {
  readonly url: string;
  query<R = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<R[]>;
  close(): Promise<void>;
}

/** What comparisons run on. */
export interface Stage {
  /** Fewer and shorter rounds. */
  readonly short: boolean;
  readonly load: Load;
  readonly tokens: AccessTokens;
  /** Id of the process that is PostgreSQL; undefined when it was not started here. */
  readonly postgres: number | undefined;
  say(line: string): void;
  database(): Promise<BenchDatabase>;
  /** Starts the service on `url`. */
  serve(url: string, env?: Readonly<Record<string, string>>): Promise<Instance>;
  close(): Promise<void>;
}

/** Starts PostgreSQL, unless `databaseUrl` names a server, whose user must be allowed to create databases and extensions. */
export async function openStage(options: {
  readonly short: boolean;
  readonly databaseUrl: string | undefined;
  readonly say: (line: string) => void;
}): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-bench-'));
  const own = options.databaseUrl ? undefined : await startPostgres(folder, SETTINGS);
  const urlOf = (name: string) =>
    own ? own.url(name) : Object.assign(new URL(options.databaseUrl as string), { pathname: `/${name}` }).toString();
  const keysFile = join(folder, 'keys.json');
  await createKeyFile(keysFile);
  const keys = await openSigningKeys({ file: keysFile, onError: () => {} });
  const load = startLoad();
  const admin = new pg.Pool({ connectionString: own?.url() ?? options.databaseUrl, max: 1 });
  const open = new Set<{ close(): Promise<void> }>();
  const stage: Stage = {
    ...options,
    load,
    tokens: createAccessTokens({ ...JWT, keys, now: () => new Date() }),
    postgres: own && Number(readFileSync(join(folder, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0]),
    async database() {
      const name = `bench_${randomBytes(6).toString('hex')}`;
      await admin.query(`CREATE DATABASE ${name}`);
      await migrate(urlOf(name));
      const pool = new pg.Pool({ connectionString: urlOf(name), max: 1 });
      const database: BenchDatabase = {
        url: urlOf(name),
        query: async (text, values = []) => (await pool.query(text, [...values])).rows,
        async close() {
          open.delete(database);
          await pool.end();
          await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
        },
      };
      open.add(database);
      return database;
    },
    async serve(url, env = {}) {
      const instance = await launch({ DATABASE_URL: url, JWT_KEYS_FILE: keysFile, ...env }, join(folder, 'log'));
      const served = {
        ...instance,
        close: () => instance.stop(),
        stop: async () => {
          open.delete(served);
          await instance.stop();
        },
      };
      open.add(served);
      return served;
    },
    async close() {
      for (const one of [...open].reverse()) await one.close();
      load.close();
      keys.close();
      await admin.end();
      await own?.end();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return stage;
}

async function launch(env: Readonly<Record<string, string>>, logs: string): Promise<Instance> {
  const file = `${logs}-${randomBytes(4).toString('hex')}`;
  const log = openSync(file, 'w');
  const base = { PATH: process.env.PATH ?? '', HOST: '127.0.0.1', GRPC_PORT: '0', HTTP_PORT: '0', DRAIN_DELAY: '0' };
  const startedAt = performance.now();
  const child = spawn(process.execPath, [...(env.NODE_FLAGS?.split(' ') ?? []), 'src/main.ts'], {
    cwd: ROOT,
    env: { ...base, RATE_LIMITS: 'off', ...env },
    stdio: ['ignore', log, log],
  });
  const ended = new Promise<void>((done) => void child.once('exit', () => done()));
  for (;;) {
    const line = readFileSync(file, 'utf8')
      .split('\n')
      .find((one) => one.includes('"msg":"serving"'));
    if (line) {
      const { grpcPort, httpPort } = JSON.parse(line) as { grpcPort: number; httpPort: number };
      const startMs = performance.now() - startedAt;
      const stop = async () => {
        child.kill('SIGTERM');
        await ended;
      };
      return { grpcPort, httpPort, pid: child.pid as number, startMs, stop };
    }
    if (child.exitCode !== null || performance.now() - startedAt > START_MS)
      throw new Error(`the service did not start:\n${readFileSync(file, 'utf8')}`);
    await sleep(5);
  }
}
