import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { readConfig } from './config.ts';
import { ConfigError } from './variables.ts';

const PRODUCTION = {
  DATABASE_URL: 'postgres://app:hunter2-secret@db.internal:5432/amrutam',
  JWT_KEYS_FILE: 'keys.json',
};

function messageOf(env: Record<string, string>, serving = true): string {
  try {
    readConfig({ env, serving });
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return 'taken';
}

describe('defaults', () => {
  test('without any variable: an embedded database, on loopback only', () => {
    expect(readConfig({ env: {} })).toMatchObject({
      host: '127.0.0.1',
      grpcPort: 50051,
      httpPort: 8080,
      metricsHost: '127.0.0.1',
      metricsPort: 9464,
      tracing: undefined,
      databaseUrl: undefined,
      dataDir: resolve('.data'),
      databasePool: 20,
      poolWaitMs: 2000,
      jwtKeysFile: undefined,
      jwtIssuer: 'amrutam',
      jwtAudience: 'amrutam',
      tls: undefined,
      corsOrigins: [],
      trustedProxies: [],
      redisUrl: undefined,
      mail: { smtp: undefined, from: 'Amrutam <no-reply@localhost>', publicUrl: undefined },
      processes: 1,
      rateLimits: true,
      logLevel: 'info',
      drainDelayMs: 0,
      demoPassword: 'correct-horse-battery',
    });
  });

  test('with DATABASE_URL it listens on every address and drains before it stops', () => {
    expect(readConfig({ env: PRODUCTION })).toMatchObject({
      host: '0.0.0.0',
      databaseUrl: PRODUCTION.DATABASE_URL,
      jwtKeysFile: resolve('keys.json'),
      mail: undefined,
      drainDelayMs: 5000,
    });
  });

  test('an empty variable is an absent one', () => {
    expect(readConfig({ env: { GRPC_PORT: '', DATABASE_URL: ' ', LOG_LEVEL: '' } })).toMatchObject({
      grpcPort: 50051,
      databaseUrl: undefined,
      logLevel: 'info',
    });
  });

  test('nobody can change it afterwards', () => {
    const config = readConfig({ env: { CORS_ORIGINS: 'https://app.example.com' } });
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.corsOrigins)).toBe(true);
  });

  test('two processes on one machine have different names', () => {
    expect(readConfig({ env: {} }).instance).toContain(String(process.pid));
    expect(readConfig({ env: { INSTANCE: 'blue-1' } }).instance).toBe('blue-1');
  });
});

describe('what is given', () => {
  test('is read', () => {
    const env = {
      ...PRODUCTION,
      HOST: '10.0.0.1',
      GRPC_PORT: '0',
      HTTP_PORT: '65535',
      METRICS_HOST: '10.0.0.2',
      METRICS_PORT: '0',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
      DATABASE_POOL: '5',
      POOL_WAIT_MS: '100',
      TLS_CERT_FILE: 'cert.pem',
      TLS_KEY_FILE: '/etc/tls/key.pem',
      CORS_ORIGINS: 'https://app.example.com, http://localhost:5173',
      TRUSTED_PROXIES: '10.0.0.0/8, ::1',
      REDIS_URL: 'rediss://:hunter2@cache.internal:6380/1',
      RATE_LIMITS: 'off',
      PROCESSES: '3',
      LOG_LEVEL: 'debug',
      DRAIN_DELAY: '0',
    };
    expect(readConfig({ env })).toMatchObject({
      host: '10.0.0.1',
      grpcPort: 0,
      httpPort: 65_535,
      metricsHost: '10.0.0.2',
      metricsPort: 0,
      tracing: { protocol: 'http/protobuf', propagators: ['tracecontext', 'baggage'] },
      databasePool: 5,
      poolWaitMs: 100,
      tls: { certFile: resolve('cert.pem'), keyFile: '/etc/tls/key.pem' },
      corsOrigins: ['https://app.example.com', 'http://localhost:5173'],
      trustedProxies: ['10.0.0.0/8', '::1'],
      redisUrl: 'rediss://:hunter2@cache.internal:6380/1',
      rateLimits: false,
      processes: 3,
      logLevel: 'debug',
      drainDelayMs: 0,
    });
  });

  test('PROCESSES=auto is one for each core, 64 at most', () => {
    expect(readConfig({ env: { PROCESSES: 'auto' } }).processes).toBe(Math.min(availableParallelism(), 64));
  });

  test.each([
    ['GRPC_PORT', '65536', 'GRPC_PORT is "65536": it must be a whole number from 0 to 65535'],
    ['HTTP_PORT', 'http', 'HTTP_PORT is "http": it must be a whole number from 0 to 65535'],
    ['HTTP_PORT', '-1', 'HTTP_PORT is "-1": it must be a whole number from 0 to 65535'],
    ['HTTP_PORT', '80.5', 'HTTP_PORT is "80.5": it must be a whole number from 0 to 65535'],
    ['METRICS_PORT', '9464/tcp', 'METRICS_PORT is "9464/tcp": it must be a whole number from 0 to 65535'],
    [
      'OTEL_EXPORTER_OTLP_PROTOCOL',
      'udp',
      'OTEL_EXPORTER_OTLP_PROTOCOL is "udp": it must be one of http/protobuf, http/json, grpc',
    ],
    [
      'OTEL_TRACES_SAMPLER',
      'some',
      'OTEL_TRACES_SAMPLER is "some": it must be one of always_on, always_off, parentbased_always_on, parentbased_always_off, traceidratio, parentbased_traceidratio',
    ],
    ['OTEL_TRACES_EXPORTER', 'zipkin', 'OTEL_TRACES_EXPORTER is "zipkin": it must be one of otlp, none'],
    [
      'OTEL_EXPORTER_OTLP_COMPRESSION',
      'zstd',
      'OTEL_EXPORTER_OTLP_COMPRESSION is "zstd": it must be one of gzip, none',
    ],
    [
      'OTEL_EXPORTER_OTLP_TRACES_COMPRESSION',
      'on',
      'OTEL_EXPORTER_OTLP_TRACES_COMPRESSION is "on": it must be one of gzip, none',
    ],
    ['OTEL_SDK_DISABLED', 'yes', 'OTEL_SDK_DISABLED is "yes": it must be one of true, false'],
    ['RATE_LIMITS', 'no', 'RATE_LIMITS is "no": it must be one of on, off'],
    ['DATABASE_POOL', '0', 'DATABASE_POOL is "0": it must be a whole number from 1 to 1000'],
    ['DATABASE_POOL', '1e3', 'DATABASE_POOL is "1e3": it must be a whole number from 1 to 1000'],
    ['PROCESSES', '0', 'PROCESSES is "0": it must be a whole number from 1 to 64, or auto: one for each core'],
    ['PROCESSES', '65', 'PROCESSES is "65": it must be a whole number from 1 to 64, or auto: one for each core'],
    ['PROCESSES', 'all', 'PROCESSES is "all": it must be a whole number from 1 to 64, or auto: one for each core'],
    ['POOL_WAIT_MS', '0', 'POOL_WAIT_MS is "0": it must be a whole number from 1 to 60000'],
    ['DRAIN_DELAY', '301', 'DRAIN_DELAY is "301": it must be a whole number from 0 to 300'],
    ['LOG_LEVEL', 'loud', 'LOG_LEVEL is "loud": it must be one of fatal, error, warn, info, debug, trace, silent'],
    [
      'CORS_ORIGINS',
      'https://app.example.com/',
      'CORS_ORIGINS is "https://app.example.com/": it must be a list of origins such as https://app.example.com, separated by commas',
    ],
    [
      'CORS_ORIGINS',
      'https://a.example.com,,',
      'CORS_ORIGINS is "": it must be a list of origins such as https://app.example.com, separated by commas',
    ],
    [
      'TLS_CERT_FILE',
      'cert.pem',
      'TLS_KEY_FILE is missing: TLS_CERT_FILE is set, and TLS needs both the certificate and its key (PEM files)',
    ],
    [
      'TLS_KEY_FILE',
      'key.pem',
      'TLS_CERT_FILE is missing: TLS_KEY_FILE is set, and TLS needs both the certificate and its key (PEM files)',
    ],
  ])('%s=%s is refused, saying what would be right', (name, value, message) => {
    expect(messageOf({ [name]: value })).toBe(message);
  });

  test.each(['proxy.internal', '10.0.0.0/33', '10.0.0.0/', '::1/129', '10.0.0.1,,'])(
    'TRUSTED_PROXIES=%s is refused',
    (value) => {
      expect(messageOf({ TRUSTED_PROXIES: value })).toMatch(/^TRUSTED_PROXIES is ".*": it must be a list of addresses/);
    },
  );
});

describe('tracing', () => {
  const ON = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' };
  const tracingOf = (env: Record<string, string>) => readConfig({ env }).tracing;

  test('is off without an endpoint, or when the SDK is to be; the endpoint and protocol of traces alone come first', () => {
    expect(tracingOf({ OTEL_SERVICE_NAME: 'clinic' })).toBeUndefined();
    expect(tracingOf({ ...ON, OTEL_SDK_DISABLED: 'true' })).toBeUndefined();
    expect(tracingOf({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://c/v1/traces' })).toMatchObject({
      protocol: 'http/protobuf',
    });
    const protocols = { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'grpc' };
    expect(tracingOf({ ...ON, ...protocols })).toMatchObject({ protocol: 'grpc' });
  });

  test('is off when the exporter is none', () => {
    expect(tracingOf({ ...ON, OTEL_TRACES_EXPORTER: 'none' })).toBeUndefined();
    expect(tracingOf({ ...ON, OTEL_TRACES_EXPORTER: 'otlp' })).toMatchObject({ protocol: 'http/protobuf' });
  });

  test.each([
    ['OTEL_BSP_MAX_QUEUE_SIZE', '4096', ['0', 'many', '-1', '1.5']],
    ['OTEL_BSP_MAX_EXPORT_BATCH_SIZE', '512', ['0', '1e3']],
    ['OTEL_BSP_SCHEDULE_DELAY', '0', ['5s', '2147483648']],
    ['OTEL_BSP_EXPORT_TIMEOUT', '30000', ['0', 'never']],
    ['OTEL_EXPORTER_OTLP_TIMEOUT', '10000', ['10s', '0']],
    ['OTEL_EXPORTER_OTLP_TRACES_TIMEOUT', '10000', ['10s', '0']],
    ['OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT', '64', ['all']],
    ['OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT', '100', ['long']],
    ['OTEL_SPAN_EVENT_COUNT_LIMIT', '8', ['-8']],
  ])('%s=%s is taken, %j are not', (name, good, bad) => {
    expect(messageOf({ ...ON, [name]: good })).toBe('taken');
    for (const value of bad)
      expect(messageOf({ ...ON, [name]: value })).toMatch(
        new RegExp(`^${name} is "${value}": it must be a whole number from [01] to 2147483647$`),
      );
  });

  test('calls tell their trace in the ways that are named, or in none', () => {
    const propagators = (OTEL_PROPAGATORS: string) => tracingOf({ ...ON, OTEL_PROPAGATORS })?.propagators;
    expect(propagators('')).toEqual(['tracecontext', 'baggage']);
    expect(propagators('tracecontext, b3,jaeger')).toEqual(['tracecontext', 'b3', 'jaeger']);
    expect(propagators('none')).toEqual([]);
    for (const OTEL_PROPAGATORS of ['xray', 'tracecontext,', 'none,b3', 'B3'])
      expect(messageOf({ ...ON, OTEL_PROPAGATORS })).toMatch(
        /^OTEL_PROPAGATORS is ".*": it must be one of tracecontext, baggage, b3, b3multi, jaeger$/,
      );
  });

  test('a share of calls is a number from 0 to 1', () => {
    const sampler = { ...ON, OTEL_TRACES_SAMPLER: 'parentbased_traceidratio' };
    expect(messageOf({ ...sampler, OTEL_TRACES_SAMPLER_ARG: '0.05' })).toBe('taken');
    for (const OTEL_TRACES_SAMPLER_ARG of ['5', '-1', 'half'])
      expect(messageOf({ ...sampler, OTEL_TRACES_SAMPLER_ARG })).toMatch(/it must be a number from 0 to 1$/);
  });
});

describe('secrets', () => {
  test.each(['hunter2', 'ftp://user:hunter2@collector'])('an endpoint that can’t be read is not shown: %s', (url) => {
    const message = messageOf({ OTEL_EXPORTER_OTLP_ENDPOINT: url });
    expect(message).toMatch(/^OTEL_EXPORTER_OTLP_ENDPOINT is not a URL that can be read/);
    expect(message).not.toContain('hunter2');
  });

  test.each(['hunter2', 'http://:hunter2@cache'])('a REDIS_URL that can’t be read is not shown: %s', (url) => {
    const message = messageOf({ REDIS_URL: url });
    expect(message).toMatch(/^REDIS_URL is not a URL that can be read/);
    expect(message).not.toContain('hunter2');
  });

  test.each(['hunter2-secret', 'mysql://app:hunter2-secret@db', 'postgres//app:hunter2-secret@db/x'])(
    'a DATABASE_URL that can’t be read is not shown: %s',
    (url) => {
      const message = messageOf({ DATABASE_URL: url, JWT_KEYS_FILE: 'keys.json' });
      expect(message).toMatch(/^DATABASE_URL is not a URL .* postgres:\/\/user:password@host:5432\/database/);
      expect(message).not.toContain('hunter2');
    },
  );

  test.each(['short-secret', 'x'.repeat(129)])('a DEMO_PASSWORD of another length is not shown: %s', (password) => {
    const message = messageOf({ DEMO_PASSWORD: password });
    expect(message).toMatch(/^DEMO_PASSWORD .*15 to 128 characters/);
    expect(message).not.toContain(password);
  });

  test('a server on a database of its own is refused without keys, which commands don’t need', () => {
    const { DATABASE_URL } = PRODUCTION;
    expect(messageOf({ DATABASE_URL })).toMatch(/^JWT_KEYS_FILE is missing: .* npm run create-keys/);
    expect(messageOf({ DATABASE_URL })).not.toContain('hunter2');
    expect(messageOf({ DATABASE_URL }, false)).toBe('taken');
  });

  test('a replica without its database', () => {
    const { DATABASE_URL: DATABASE_REPLICA_URL } = PRODUCTION;
    expect(messageOf({ DATABASE_REPLICA_URL })).toMatch(/^DATABASE_URL is missing: DATABASE_REPLICA_URL is set/);
    expect(messageOf({ ...PRODUCTION, DATABASE_REPLICA_URL: 'replica:5432' })).toMatch(
      /^DATABASE_REPLICA_URL is not a URL/,
    );
  });
});

describe('secrets from files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'amrutam-config-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = (content: string) => {
    const name = join(folder, `${Math.random()}`);
    writeFileSync(name, content);
    return name;
  };

  test('are what the variable would be; a line end behind them is no part of them', () => {
    const DATABASE_URL_FILE = file(`${PRODUCTION.DATABASE_URL}\n`);
    const REDIS_URL_FILE = file('redis://:hunter2@cache:6379');
    const { JWT_KEYS_FILE } = PRODUCTION;
    expect(readConfig({ env: { DATABASE_URL_FILE, REDIS_URL_FILE, JWT_KEYS_FILE } })).toMatchObject({
      databaseUrl: PRODUCTION.DATABASE_URL,
      redisUrl: 'redis://:hunter2@cache:6379',
      host: '0.0.0.0',
      drainDelayMs: 5000,
    });
    expect(messageOf({ DATABASE_URL_FILE })).toMatch(/^JWT_KEYS_FILE is missing/);
  });

  test('that are missing, empty, malformed or said twice are refused, and not shown', () => {
    const missing = join(folder, 'missing');
    expect(messageOf({ DATABASE_URL_FILE: missing })).toMatch(`DATABASE_URL_FILE: ${missing} can't be read: ENOENT`);
    const empty = file('\n');
    expect(messageOf({ REDIS_URL_FILE: empty })).toBe(
      `REDIS_URL_FILE: ${empty} is empty: it must hold what REDIS_URL would`,
    );
    const malformed = messageOf({ DATABASE_URL_FILE: file('hunter2-secret') });
    expect(malformed).toMatch(/^DATABASE_URL_FILE is not a URL that can be read/);
    expect(malformed).not.toContain('hunter2');
    const twoLines = file('redis://:hunter2@cache:6379\nredis://:hunter3@cache:6380\n');
    expect(messageOf({ REDIS_URL_FILE: twoLines })).toBe(
      'REDIS_URL_FILE has white space inside: it must be one URL and nothing else, a space written as %20',
    );
    expect(messageOf({ DATABASE_URL_FILE: file(`${PRODUCTION.DATABASE_URL}\r\n# the old one`) })).toMatch(
      /^DATABASE_URL_FILE has white space inside/,
    );
    expect(messageOf({ REDIS_URL: 'redis://cache:6379 redis://cache:6380' })).toMatch(/^REDIS_URL has white space/);
    expect(messageOf({ ...PRODUCTION, DATABASE_URL_FILE: file(PRODUCTION.DATABASE_URL) })).toBe(
      'DATABASE_URL and DATABASE_URL_FILE are both set: leave one of them out',
    );
  });
});

describe('mail', () => {
  const MAIL_FROM = 'Amrutam <no-reply@clinic.example>';
  const smtpOf = (SMTP_URL: string) => readConfig({ env: { SMTP_URL, MAIL_FROM } }).mail?.smtp;

  test.each([
    ['smtps://user:p%40ss@mail.example', 'mail.example', 465, 'tls', { user: 'user', password: 'p@ss' }],
    ['smtp://user:p%40ss@mail.example', 'mail.example', 587, 'starttls', { user: 'user', password: 'p@ss' }],
    ['smtp://mail.example:2525/', 'mail.example', 2525, 'starttls', undefined],
    ['smtp://relay:25?tls=off', 'relay', 25, 'none', undefined],
    ['smtp://localhost:25', 'localhost', 25, 'none', undefined],
    ['smtp://user:secret@127.0.0.1:25?tls=off', '127.0.0.1', 25, 'none', { user: 'user', password: 'secret' }],
    ['smtp://[::1]:25', '::1', 25, 'none', undefined],
    ['smtps://localhost', 'localhost', 465, 'tls', undefined],
  ])('%s', (url, host, port, security, login) => {
    expect(smtpOf(url)).toEqual({ host, port, security, login });
  });

  test('where it comes from and where links lead', () => {
    const env = {
      ...PRODUCTION,
      SMTP_URL: 'smtp://mail.example',
      MAIL_FROM,
      PUBLIC_URL: 'https://clinic.example/app/',
    };
    expect(readConfig({ env }).mail).toMatchObject({ from: MAIL_FROM, publicUrl: 'https://clinic.example/app' });
    expect(readConfig({ env: { PUBLIC_URL: 'http://localhost:8080' } }).mail?.publicUrl).toBe('http://localhost:8080');
  });

  test('the password may be in a file', () => {
    const folder = mkdtempSync(join(tmpdir(), 'amrutam-config-'));
    const SMTP_URL_FILE = join(folder, 'smtp-url');
    writeFileSync(SMTP_URL_FILE, 'smtps://user:hunter2@mail.example\n');
    const { mail } = readConfig({ env: { SMTP_URL_FILE, MAIL_FROM } });
    rmSync(folder, { recursive: true });
    expect(mail?.smtp?.login).toEqual({ user: 'user', password: 'hunter2' });
  });

  test.each([
    'hunter2',
    'http://user:hunter2@mail.example',
    'smtp://user:hunter2@',
    'smtp://user:hunter2@mail.example/path',
    'smtp://user:hunter2@mail.example?tls=on',
    'smtp://user:hunter2@mail.example?tls=off',
    'smtps://mail.example?tls=off',
    'smtp://hunter2@mail.example',
    'smtp://user:hunter2%@mail.example',
  ])('an SMTP_URL that can’t be used is not shown: %s', (SMTP_URL) => {
    const message = messageOf({ SMTP_URL, MAIL_FROM });
    expect(message).toMatch(/^SMTP_URL .*: it must look like smtp:\/\/user:password@host:587 \(STARTTLS\) or smtps:/);
    expect(message).not.toContain('hunter2');
  });

  test('a sender there must be, and one', () => {
    expect(messageOf({ SMTP_URL: 'smtp://mail.example' })).toMatch(/^MAIL_FROM is missing: with SMTP_URL/);
    for (const from of [
      'Amrutam',
      'a@x.example, b@x.example',
      'Amrutam <a@x.example',
      'A\nBcc: b@x.example <a@x.example>',
    ])
      expect(messageOf({ SMTP_URL: 'smtp://mail.example', MAIL_FROM: from })).toMatch(
        /^MAIL_FROM is .*: it must be one address/,
      );
  });

  test.each([
    'clinic.example',
    'http://clinic.example',
    'https://clinic.example/?a',
    'https://a:b@clinic.example',
    'https://clinic.example/#x',
  ])('links lead nowhere but to a safe site: %s', (PUBLIC_URL) => {
    expect(messageOf({ PUBLIC_URL })).toMatch(/^PUBLIC_URL is .*: it must be the https:\/\/ address/);
  });
});
