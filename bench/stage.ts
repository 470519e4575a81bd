import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Postgres, startPostgres } from '../faults/postgres.ts';
import { type AccessTokens, createAccessTokens } from '../src/auth/access-token.ts';
import { createKeyFile, openSigningKeys } from '../src/auth/signing-keys.ts';
import { type BenchDatabase, createDatabase } from './bench-database.ts';
import { type Instance, startInstance } from './instance.ts';
import { type Load, startLoad } from './load.ts';
import { createProfiles, type Profiled, type Profiles } from './profiles.ts';
import { type Program, startProgram } from './program.ts';

const JWT = { issuer: 'amrutam', audience: 'amrutam' };
/** Of the server that is brought along: durable as in production, with room enough that no checkpoint falls into each round. */
const SETTINGS = [
  'synchronous_commit=on',
  'fsync=on',
  'shared_buffers=1GB',
  'max_wal_size=8GB',
  'checkpoint_timeout=30min',
];

/** What comparisons run on. What they open is closed after each. */
export interface Stage {
  /** Fewer and shorter rounds. */
  readonly short: boolean;
  /** For files; gone when the stage closes. */
  readonly folder: string;
  readonly load: Load;
  readonly tokens: AccessTokens;
  /** Id of the process that is PostgreSQL; undefined when it was not started here. */
  readonly postgres: number | undefined;
  /** Of the servers; undefined when none are wanted. */
  readonly profiles: Profiles | undefined;
  say(line: string): void;
  database(): Promise<BenchDatabase>;
  /** Starts the service on `url`. */
  serve(url: string, env?: Readonly<Record<string, string>>): Promise<Instance>;
  /** Starts a server of this folder. */
  program(file: string, args?: readonly string[]): Promise<Program>;
}

/** The stage, and what only its owner may do. */
export interface OpenStage {
  readonly stage: Stage;
  /** Of the server's maintenance database. */
  readonly adminUrl: string;
  /** Closes what was opened on it. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

/** See `openStage`. */
export interface StageOptions {
  readonly short: boolean;
  /** Whether CPU profiles are wanted. */
  readonly profile: boolean;
  /** Of a server whose user may create databases and extensions; absent: one is started. */
  readonly databaseUrl: string | undefined;
  readonly say: (line: string) => void;
}

/** Starts the load generator, and PostgreSQL where none is given. */
export async function openStage({ short, profile, databaseUrl, say }: StageOptions): Promise<OpenStage> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-bench-'));
  const own = databaseUrl ? undefined : await startPostgres(folder, SETTINGS);
  const adminUrl = databaseUrl ?? (own as Postgres).url();
  const keysFile = join(folder, 'keys.json');
  await createKeyFile(keysFile);
  const keys = await openSigningKeys({ file: keysFile, onError: () => {} });
  const load = startLoad();
  const { opened, clear } = openings();
  const profiles = profile ? createProfiles(folder) : undefined;
  const stage: Stage = {
    short,
    folder,
    load,
    tokens: createAccessTokens({ ...JWT, keys, now: () => new Date() }),
    postgres: own && postmasterIn(folder),
    profiles,
    say,
    database: async () => opened(await createDatabase(adminUrl), 'close'),
    serve: async (url, env = {}) => {
      const all = { DATABASE_URL: url, JWT_KEYS_FILE: keysFile, ...env };
      return opened(
        await profilable(profiles, (how) => startInstance({ ...all, ...how?.env }, folder, how?.flags)),
        'stop',
      );
    },
    program: async (file, args) => opened(await profilable(profiles, (how) => startProgram(file, args, how)), 'stop'),
  };
  const close = async () => {
    await clear();
    load.close();
    keys.close();
    await own?.end();
    await rm(folder, { recursive: true, force: true });
  };
  return { stage, adminUrl, clear, close };
}

/** Starts a server so that it can be profiled, where that is wanted. */
async function profilable<T extends { readonly pid: number }>(
  profiles: Profiles | undefined,
  start: (how?: Profiled) => Promise<T>,
): Promise<T> {
  const how = profiles?.prepare();
  const server = await start(how);
  how?.started(server.pid);
  return server;
}

function postmasterIn(folder: string): number {
  return Number(readFileSync(join(folder, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0]);
}

/** Remembers what was opened, until it is closed, so that the last is closed first. */
function openings() {
  const ends = new Set<() => Promise<void>>();
  return {
    opened<E extends 'close' | 'stop', T extends { readonly [end in E]: () => Promise<void> }>(one: T, end: E): T {
      const close = async () => {
        if (ends.delete(close)) await one[end]();
      };
      ends.add(close);
      return { ...one, [end]: close };
    },
    async clear() {
      for (const close of [...ends].reverse()) await close();
    },
  };
}
