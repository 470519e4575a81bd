import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MikroORM } from '@mikro-orm/postgresql';
import { createSealKeyFile } from '../src/audit/seal-keys.ts';
import { type AccessTokens, createAccessTokens } from '../src/auth/access-token.ts';
import { createKeyFile, openSigningKeys } from '../src/auth/signing-keys.ts';
import { createOrm } from '../src/db/orm.ts';
import type { UnitsOfWork } from '../src/db/unit-of-work.ts';
import { entities } from '../src/entities.ts';
import { createUnits } from '../src/server.ts';
import { runCommand, type Service, startService } from '../test/support/process-service.ts';
import type { Stage } from './drill.ts';
import type { Postgres } from './postgres.ts';
import { startProxy, type TcpProxy } from './proxy.ts';

/** A migrated database of its own, instances that reach it through a proxy, and a way past both to prepare and to look. */
export interface Clinic {
  /** Between the instances and PostgreSQL. */
  readonly proxy: TcpProxy;
  readonly database: string;
  /** Prepares people and slots, and looks: by a connection that no drill hurts. */
  readonly orm: MikroORM;
  readonly units: UnitsOfWork;
  readonly tokens: AccessTokens;
  readonly keysFile: string;
  /** Of the keys that seal the audit log. */
  readonly auditKeysFile: string;
  /** Starts another instance, with more settings or others. */
  start(env?: Readonly<Record<string, string>>): Promise<Service>;
  /** Ends every instance and drops the database. */
  close(): Promise<void>;
}

const JWT = { issuer: 'amrutam', audience: 'amrutam' };

/** A stage on whatever server there is. */
export type Ground = Omit<Stage, 'postgres'> & { readonly postgres: Pick<Postgres, 'url' | 'port' | 'query'> };

/** Opens a clinic without instances. */
export async function openClinic({ postgres, root }: Pick<Ground, 'postgres' | 'root'>): Promise<Clinic> {
  const database = `drill_${randomBytes(6).toString('hex')}`;
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-drill-'));
  const keysFile = join(folder, 'keys.json');
  const auditKeysFile = join(folder, 'audit-keys.json');
  await Promise.all([createKeyFile(keysFile), createSealKeyFile(auditKeysFile)]);
  await postgres.query(`CREATE DATABASE ${database}`);
  const migrated = await runCommand('migrate', { root, env: { DATABASE_URL: postgres.url(database) } });
  if (migrated.code !== 0) throw new Error(`the migration failed:\n${migrated.output}`);
  const proxy = await startProxy(() => postgres.port);
  const backdoor = await startProxy(() => postgres.port);
  const through = ({ port }: TcpProxy) =>
    Object.assign(new URL(postgres.url(database)), { port: `${port}` }).toString();
  const orm = createOrm({ url: through(backdoor), pool: 10, poolWaitMs: 10_000, applicationName: 'drill' }, entities);
  const keys = await openSigningKeys({ file: keysFile, onError: () => {} });
  const services: Service[] = [];
  return {
    proxy,
    database,
    orm,
    keysFile,
    auditKeysFile,
    units: createUnits({ orm, databasePool: 10, poolWaitMs: 10_000, instance: 'drill' }),
    tokens: createAccessTokens({ ...JWT, keys, now: () => new Date() }),
    async start(env = {}) {
      const given = { DATABASE_URL: through(proxy), JWT_KEYS_FILE: keysFile, AUDIT_KEYS_FILE: auditKeysFile };
      const service = await startService({ ...given, ...env }, root);
      services.push(service);
      return service;
    },
    async close() {
      for (const service of services) service.kill('SIGKILL');
      await Promise.all(services.map(({ ended }) => ended));
      keys.close();
      await orm.close();
      proxy.close();
      backdoor.close();
      await postgres.query(`DROP DATABASE ${database} WITH (FORCE)`);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
