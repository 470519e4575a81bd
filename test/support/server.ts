import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MikroORM } from '@mikro-orm/postgresql';
import { type AccessTokens, createAccessTokens } from '../../src/auth/access-token.ts';
import { createPasswordHasher } from '../../src/auth/password.ts';
import { createKeyFile, openSigningKeys } from '../../src/auth/signing-keys.ts';
import { createOrm } from '../../src/db/orm.ts';
import { checkReadiness } from '../../src/db/readiness.ts';
import type { UnitsOfWork } from '../../src/db/unit-of-work.ts';
import { entities } from '../../src/entities.ts';
import { createLog } from '../../src/log.ts';
import { build, type ServerDeps } from '../../src/server.ts';
import { freshDatabase } from './database.ts';

/** A whole server in this process: real listeners on free ports of 127.0.0.1, a database of its own. */
export interface TestServer {
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly url: string;
  /** The keys that sign its tokens. */
  readonly keysFile: string;
  readonly orm: MikroORM;
  readonly units: UnitsOfWork;
  readonly tokens: AccessTokens;
  /** Every line that was logged. */
  readonly logged: string[];
  /** Moves the clock that decisions are made by; milliseconds, from the real time. */
  shift(ms: number): void;
  stop(): Promise<void>;
}

/** What may be different from the default: `databaseUrl` and `keysFile` share another test server's. */
export type TestServerOptions = Partial<
  Pick<
    ServerDeps,
    'corsOrigins' | 'trustedProxies' | 'tls' | 'takeTurn' | 'shelf' | 'replica' | 'auditKeysFile' | 'mail'
  >
> & {
  readonly databaseUrl?: string;
  readonly keysFile?: string;
  readonly pool?: number;
};

const JWT = { issuer: 'amrutam', audience: 'amrutam' };

export async function startServer(given: TestServerOptions = {}): Promise<TestServer> {
  const { databaseUrl, keysFile: shared, pool = 20, ...options } = given;
  const database = databaseUrl ? undefined : await freshDatabase();
  const url = databaseUrl ?? (database?.url as string);
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-keys-'));
  const keysFile = shared ?? join(folder, 'keys.json');
  await createKeyFile(keysFile);
  const keys = await openSigningKeys({ file: keysFile, onError: () => {} });
  const poolWaitMs = 2_000;
  const orm = createOrm({ url, pool, poolWaitMs, applicationName: 'test' }, entities);
  const logged: string[] = [];
  const log = createLog('debug', { write: (line: string) => void logged.push(line) });
  let shifted = 0;
  const deps = {
    corsOrigins: [],
    trustedProxies: [],
    mail: {},
    ...options,
    orm,
    keys,
    log,
    jwt: JWT,
    instance: 'test',
  };
  const server = build({
    ...deps,
    databasePool: pool,
    poolWaitMs,
    passwords: createPasswordHasher(),
    ready: () => checkReadiness(orm),
    shiftMs: () => shifted,
  });
  server.setServing(true);
  const [grpcPort, httpPort] = await Promise.all([
    server.grpc.listen('127.0.0.1', 0),
    server.http.listen('127.0.0.1', 0),
  ]);
  return {
    grpcPort,
    httpPort,
    url,
    keysFile,
    orm,
    logged,
    units: server.units,
    tokens: createAccessTokens({ ...JWT, keys, now: () => new Date() }),
    shift: (ms) => {
      shifted = ms;
    },
    async stop() {
      await Promise.all([server.grpc.close(0), server.http.close(0)]);
      server.close();
      keys.close();
      await orm.close();
      await database?.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
