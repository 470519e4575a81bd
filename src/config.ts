import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { availableParallelism, hostname } from 'node:os';
import { resolve } from 'node:path';

/** Everything that the environment decides, checked. Paths are absolute. */
export interface Config {
  readonly host: string;
  readonly grpcPort: number;
  readonly httpPort: number;
  /** Where Prometheus asks. */
  readonly metricsHost: string;
  readonly metricsPort: number;
  /** How spans travel to a collector, of which the SDK's own variables say the rest; absent: there are none. */
  readonly tracing: { readonly protocol: OtlpProtocol } | undefined;
  /** Absent: the embedded PostgreSQL in `dataDir`. */
  readonly databaseUrl: string | undefined;
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

export type OtlpProtocol = (typeof OTLP_PROTOCOLS)[number];

/** A variable that is missing or wrong; the message says which, why, and what would be right. */
export class ConfigError extends Error {}

type Environment = Readonly<Record<string, string | undefined>>;

const OTLP_PROTOCOLS = ['http/protobuf', 'http/json', 'grpc'] as const;
const RATIO_SAMPLERS = ['traceidratio', 'parentbased_traceidratio'];
const SAMPLERS = ['always_on', 'always_off', 'parentbased_always_on', 'parentbased_always_off', ...RATIO_SAMPLERS];
/** What the SDK takes numbers from, and the least they may be. */
const OTEL_NUMBERS = {
  OTEL_EXPORTER_OTLP_TIMEOUT: 1,
  OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: 1,
  OTEL_BSP_SCHEDULE_DELAY: 0,
  OTEL_BSP_EXPORT_TIMEOUT: 1,
  OTEL_BSP_MAX_QUEUE_SIZE: 1,
  OTEL_BSP_MAX_EXPORT_BATCH_SIZE: 1,
  OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: 0,
  OTEL_ATTRIBUTE_COUNT_LIMIT: 0,
  OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: 0,
  OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: 0,
  OTEL_SPAN_EVENT_COUNT_LIMIT: 0,
  OTEL_SPAN_LINK_COUNT_LIMIT: 0,
  OTEL_SPAN_ATTRIBUTE_PER_EVENT_COUNT_LIMIT: 0,
  OTEL_SPAN_ATTRIBUTE_PER_LINK_COUNT_LIMIT: 0,
};
/** More milliseconds than these no timer takes. */
const MOST_OTEL = 2 ** 31 - 1;
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
  const jwtKeysFile = optional(env, 'JWT_KEYS_FILE', path);
  if (serving && databaseUrl && !jwtKeysFile) {
    throw new ConfigError(
      'JWT_KEYS_FILE is missing: with DATABASE_URL the keys that sign access tokens must be given, so that every instance has the same. Make a file with: npm run create-keys -- keys.json',
    );
  }
  return Object.freeze({
    host: optional(env, 'HOST', String) ?? (databaseUrl ? '0.0.0.0' : '127.0.0.1'),
    grpcPort: optional(env, 'GRPC_PORT', port) ?? 50051,
    httpPort: optional(env, 'HTTP_PORT', port) ?? 8080,
    metricsHost: optional(env, 'METRICS_HOST', String) ?? '127.0.0.1',
    metricsPort: optional(env, 'METRICS_PORT', port) ?? 9464,
    tracing: tracingOf(env),
    processes: optional(env, 'PROCESSES', processes) ?? 1,
    databaseUrl,
    dataDir: resolve(optional(env, 'DATA_DIR', String) ?? '.data'),
    redisUrl: secret(env, 'REDIS_URL', redisUrl),
    rateLimits: (optional(env, 'RATE_LIMITS', oneOf(['on', 'off'])) ?? 'on') === 'on',
    databasePool: optional(env, 'DATABASE_POOL', whole(1, 1000)) ?? 20,
    poolWaitMs: optional(env, 'POOL_WAIT_MS', whole(1, 60_000)) ?? 2_000,
    jwtKeysFile,
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

type Reader<T> = (value: string, name: string) => T;

/** The variable as `read` understands it; undefined when it is absent or empty. */
function optional<T>(env: Environment, name: string, read: Reader<T>): T | undefined {
  const value = env[name]?.trim();
  return value ? read(value, name) : undefined;
}

/** The same, or what the file holds that `NAME_FILE` names: so that no list of the environment shows a password. */
function secret<T>(env: Environment, name: string, read: Reader<T>): T | undefined {
  const named = `${name}_FILE`;
  const file = optional(env, named, path);
  if (!file) return optional(env, name, oneWord(read));
  if (optional(env, name, String)) throw new ConfigError(`${name} and ${named} are both set: leave one of them out`);
  const value = contentOf(file, named).trim();
  if (!value) throw new ConfigError(`${named}: ${file} is empty: it must hold what ${name} would`);
  return oneWord(read)(value, named);
}

/** Two lines would be read as one: what understands URLs leaves line ends out. */
function oneWord<T>(read: Reader<T>): Reader<T> {
  return (value, name) => {
    // The value may hold a password and is not shown.
    if (/\s/.test(value))
      throw new ConfigError(
        `${name} has white space inside: it must be one URL and nothing else, a space written as %20`,
      );
    return read(value, name);
  };
}

function contentOf(file: string, name: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(`${name}: ${file} can't be read: ${(error as Error).message}`);
  }
}

function wrong(name: string, value: string, wanted: string): ConfigError {
  return new ConfigError(`${name} is ${JSON.stringify(value)}: it must be ${wanted}`);
}

function whole(from: number, to: number): Reader<number> {
  return (value, name) => {
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < from || number > to)
      throw wrong(name, value, `a whole number from ${from} to ${to}`);
    return number;
  };
}

const path: Reader<string> = (value) => resolve(value);

/** 0 lets the system choose a free port. */
const port = whole(0, 65_535);

const MOST_PROCESSES = 64;

const processes: Reader<number> = (value, name) => {
  if (value === 'auto') return Math.min(availableParallelism(), MOST_PROCESSES);
  if (!/^\d+$/.test(value) || Number(value) < 1 || Number(value) > MOST_PROCESSES)
    throw wrong(name, value, `a whole number from 1 to ${MOST_PROCESSES}, or auto: one for each core`);
  return Number(value);
};

function oneOf<T extends string>(values: readonly T[]): Reader<T> {
  return (value, name) => {
    if (!values.includes(value as T)) throw wrong(name, value, `one of ${values.join(', ')}`);
    return value as T;
  };
}

function list<T>(read: Reader<T>): Reader<readonly T[]> {
  return (value, name) => value.split(',').map((item) => read(item.trim(), name));
}

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

/** The SDK reads its variables by itself, and goes on with a default where one can't be understood: those are refused here. */
function tracingOf(env: Environment): Config['tracing'] {
  const endpoints = ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'];
  const given = endpoints.filter((name) => optional(env, name, httpUrl) !== undefined);
  const disabled = optional(env, 'OTEL_SDK_DISABLED', oneOf(['true', 'false'])) === 'true';
  const protocols = ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'];
  const [protocol = 'http/protobuf'] = protocols.flatMap((name) => optional(env, name, oneOf(OTLP_PROTOCOLS)) ?? []);
  const sampler = optional(env, 'OTEL_TRACES_SAMPLER', oneOf(SAMPLERS));
  if (RATIO_SAMPLERS.includes(sampler ?? '')) optional(env, 'OTEL_TRACES_SAMPLER_ARG', share);
  for (const [name, least] of Object.entries(OTEL_NUMBERS)) optional(env, name, whole(least, MOST_OTEL));
  for (const name of ['OTEL_EXPORTER_OTLP_COMPRESSION', 'OTEL_EXPORTER_OTLP_TRACES_COMPRESSION'])
    optional(env, name, oneOf(['gzip', 'none']));
  const exporter = optional(env, 'OTEL_TRACES_EXPORTER', oneOf(['otlp', 'none']));
  return given.length === 0 || disabled || exporter === 'none' ? undefined : { protocol };
}

const httpUrl: Reader<string> = (value, name) => {
  // The value may hold a password and is not shown.
  if (!URL.canParse(value) || !/^https?:$/.test(new URL(value).protocol))
    throw new ConfigError(`${name} is not a URL that can be read: it must look like http://collector:4318`);
  return value;
};

const share: Reader<number> = (value, name) => {
  const number = Number(value);
  if (!(number >= 0 && number <= 1)) throw wrong(name, value, 'a number from 0 to 1');
  return number;
};
