import { isIP } from 'node:net';
import { availableParallelism, hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { type MailSettings, mailOf } from './mail/settings.ts';
import { type TracingSettings, tracingOf } from './tracing/settings.ts';
import {
  ConfigError,
  type Environment,
  list,
  oneOf,
  optional,
  path,
  type Reader,
  secret,
  whole,
  wrong,
} from './variables.ts';

/** Everything that the environment decides, checked. Paths are absolute. */
export interface Config {
  readonly host: string;
  readonly grpcPort: number;
  readonly httpPort: number;
  /** Where Prometheus asks. */
  readonly metricsHost: string;
  readonly metricsPort: number;
  /** Absent: nothing is traced. */
  readonly tracing: TracingSettings | undefined;
  /** Absent: the embedded PostgreSQL in `dataDir`. */
  readonly databaseUrl: string | undefined;
  /** A streaming replica of that database. Absent: everything is read from the database itself. */
  readonly databaseReplicaUrl: string | undefined;
  /** Absent: no mails are sent. */
  readonly mail: MailSettings | undefined;
  readonly dataDir: string;
  /** How many share the ports: 1 serves by itself, more are supervised. */
  readonly processes: number;
  /** Absent: what instances could share, each keeps for itself. */
  readonly redisUrl: string | undefined;
  /** False for load tests: everybody may call as often as they like. */
  readonly rateLimits: boolean;
  /** Connections, of all processes together. */
  readonly databasePool: number;
  readonly poolWaitMs: number;
  /** Absent: keys made in `dataDir`. */
  readonly jwtKeysFile: string | undefined;
  /** Of the keys that seal the audit log. Absent: it is not sealed. */
  readonly auditKeysFile: string | undefined;
  readonly jwtIssuer: string;
  readonly jwtAudience: string;
  /** Paths of PEM files; absent: plain text. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly corsOrigins: readonly string[];
  readonly trustedProxies: readonly string[];
  readonly logLevel: string;
  /** Milliseconds between "not ready" and the end of accepting, for balancers to notice. */
  readonly drainDelayMs: number;
  readonly demoPassword: string;
  /** Names this process among several, in the audit trail and in pg_stat_activity. */
  readonly instance: string;
}

/** Of the keys that seal the audit log, beside the embedded database. */
export const AUDIT_KEYS = 'audit-keys.json';
const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'];

/** Reads the environment, and files that stand for a variable of it: the only place that does. Commands that serve nothing need no signing keys. Throws ConfigError. */
export function readConfig({
  env = process.env,
  serving = true,
}: {
  env?: Environment;
  serving?: boolean;
} = {}): Config {
  const databaseUrl = secret(env, 'DATABASE_URL', postgresUrl);
  const databaseReplicaUrl = secret(env, 'DATABASE_REPLICA_URL', postgresUrl);
  if (databaseReplicaUrl && !databaseUrl)
    throw new ConfigError(
      'DATABASE_URL is missing: DATABASE_REPLICA_URL is set, and the embedded database has no replicas',
    );
  const jwtKeysFile = optional(env, 'JWT_KEYS_FILE', path);
  if (serving && databaseUrl && !jwtKeysFile) {
    throw new ConfigError(
      'JWT_KEYS_FILE is missing: with DATABASE_URL the keys that sign access tokens must be given, so that every instance has the same. Make a file with: npm run create-keys -- keys.json',
    );
  }
  const dataDir = resolve(optional(env, 'DATA_DIR', String) ?? '.data');
  return Object.freeze({
    host: optional(env, 'HOST', String) ?? (databaseUrl ? '0.0.0.0' : '127.0.0.1'),
    grpcPort: optional(env, 'GRPC_PORT', port) ?? 50051,
    httpPort: optional(env, 'HTTP_PORT', port) ?? 8080,
    metricsHost: optional(env, 'METRICS_HOST', String) ?? '127.0.0.1',
    metricsPort: optional(env, 'METRICS_PORT', port) ?? 9464,
    tracing: tracingOf(env),
    processes: optional(env, 'PROCESSES', processes) ?? 1,
    databaseUrl,
    databaseReplicaUrl,
    mail: mailOf(env, { embedded: databaseUrl === undefined }),
    dataDir,
    redisUrl: secret(env, 'REDIS_URL', redisUrl),
    rateLimits: (optional(env, 'RATE_LIMITS', oneOf(['on', 'off'])) ?? 'on') === 'on',
    databasePool: optional(env, 'DATABASE_POOL', whole(1, 1000)) ?? 20,
    poolWaitMs: optional(env, 'POOL_WAIT_MS', whole(1, 60_000)) ?? 2_000,
    jwtKeysFile,
    auditKeysFile: optional(env, 'AUDIT_KEYS_FILE', path) ?? (databaseUrl ? undefined : join(dataDir, AUDIT_KEYS)),
    jwtIssuer: optional(env, 'JWT_ISSUER', String) ?? 'amrutam',
    jwtAudience: optional(env, 'JWT_AUDIENCE', String) ?? 'amrutam',
    tls: tlsOf(env),
    corsOrigins: Object.freeze(optional(env, 'CORS_ORIGINS', list(origin)) ?? []),
    trustedProxies: Object.freeze(optional(env, 'TRUSTED_PROXIES', list(address)) ?? []),
    logLevel: optional(env, 'LOG_LEVEL', oneOf(LOG_LEVELS)) ?? 'info',
    drainDelayMs: 1000 * (optional(env, 'DRAIN_DELAY', whole(0, 300)) ?? (databaseUrl ? 5 : 0)),
    demoPassword: optional(env, 'DEMO_PASSWORD', demoPassword) ?? 'correct-horse-battery',
    instance: optional(env, 'INSTANCE', String) ?? `${hostname()}-${process.pid}`,
  });
}

/** 0 lets the system choose a free port. */
const port = whole(0, 65_535);

const MOST_PROCESSES = 64;

const processes: Reader<number> = (value, name) => {
  if (value === 'auto') return Math.min(availableParallelism(), MOST_PROCESSES);
  if (!/^\d+$/.test(value) || Number(value) < 1 || Number(value) > MOST_PROCESSES)
    throw wrong(name, value, `a whole number from 1 to ${MOST_PROCESSES}, or auto: one for each core`);
  return Number(value);
};

const postgresUrl: Reader<string> = (value, name) => {
  // The value holds a password and is not shown.
  if (!URL.canParse(value) || !/^postgres(ql)?:$/.test(new URL(value).protocol)) {
    throw new ConfigError(
      `${name} is not a URL that can be read: it must look like postgres://user:password@host:5432/database, special characters of the password percent-encoded`,
    );
  }
  return value;
};

const redisUrl: Reader<string> = (value, name) => {
  // The value may hold a password and is not shown.
  if (!URL.canParse(value) || !/^rediss?:$/.test(new URL(value).protocol)) {
    throw new ConfigError(`${name} is not a URL that can be read: it must look like redis://:password@host:6379`);
  }
  return value;
};

const origin: Reader<string> = (value, name) => {
  if (value === '*') return value;
  if (!URL.canParse(value) || new URL(value).origin !== value)
    throw wrong(name, value, 'a list of origins such as https://app.example.com, separated by commas');
  return value;
};

const address: Reader<string> = (value, name) => {
  const [, ip = '', prefix = '0'] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(value) ?? [];
  if (!isIP(ip) || Number(prefix) > (isIP(ip) === 6 ? 128 : 32))
    throw wrong(name, value, 'a list of addresses or ranges such as 10.0.0.0/8, separated by commas');
  return value;
};

const demoPassword: Reader<string> = (value, name) => {
  const { length } = [...value];
  if (length < 15 || length > 128)
    throw new ConfigError(`${name} has ${length} characters: it must have 15 to 128 characters`);
  return value;
};

function tlsOf(env: Environment): Config['tls'] {
  const certFile = optional(env, 'TLS_CERT_FILE', path);
  const keyFile = optional(env, 'TLS_KEY_FILE', path);
  if (certFile && keyFile) return { certFile, keyFile };
  if (!certFile && !keyFile) return undefined;
  const [there, missing] = certFile ? ['TLS_CERT_FILE', 'TLS_KEY_FILE'] : ['TLS_KEY_FILE', 'TLS_CERT_FILE'];
  throw new ConfigError(
    `${missing} is missing: ${there} is set, and TLS needs both the certificate and its key (PEM files)`,
  );
}
