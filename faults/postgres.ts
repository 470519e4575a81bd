import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type Embedded, startEmbedded } from '../src/db/embedded.ts';

/** How PostgreSQL is told to stop: as its manual names them, and a SIGKILL of the postmaster. */
export type StopMode = 'fast' | 'immediate' | 'kill';

const SIGNAL = { fast: 'SIGINT', immediate: 'SIGQUIT', kill: 'SIGKILL' } as const;

/** A real server that can be stopped and started again. */
export interface Postgres {
  /** Connection string of one of its databases. Changes with each start: ask for it when it is needed. */
  url(database?: string): string;
  /** Where it listens now, on 127.0.0.1. */
  readonly port: number;
  stop(mode: StopMode): Promise<void>;
  /** Starts it again; resolves when it accepts connections. */
  start(): Promise<void>;
  /** Runs one statement as the superuser, in `database` or in `postgres`. */
  query(text: string, database?: string): Promise<Record<string, unknown>[]>;
  /** Ends it for good. */
  end(): Promise<void>;
}

/** Makes a cluster in `dataDir` and starts it. `flags` are settings such as `fsync=off`; `onLog` gets each line of its log. */
export async function startPostgres(
  dataDir: string,
  flags: readonly string[] = [],
  onLog: (line: string) => void = () => {},
): Promise<Postgres> {
  const settings = ['max_connections=300', ...flags];
  let server: Embedded = await startEmbedded({ dataDir, flags: settings, onLog });
  const url = (database = 'postgres') => Object.assign(new URL(server.url), { pathname: `/${database}` }).toString();
  return {
    url,
    get port() {
      return Number(new URL(server.url).port);
    },
    async stop(mode) {
      const [pid] = (await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n');
      process.kill(Number(pid), SIGNAL[mode]);
      await server.exited;
    },
    async start() {
      server = await startEmbedded({ dataDir, flags: settings, onLog });
    },
    async query(text, database) {
      const client = new pg.Client(url(database));
      client.on('error', () => {});
      await client.connect();
      try {
        return (await client.query(text)).rows as Record<string, unknown>[];
      } finally {
        await client.end();
      }
    },
    async end() {
      await server.stop();
      await sleep(0);
    },
  };
}
