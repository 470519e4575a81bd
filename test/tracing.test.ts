import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { sql } from '../src/db/sql.ts';
import { rows } from '../src/db/statement.ts';
import { inTransaction } from '../src/db/transaction.ts';
import { grpcJsTransport } from '../src/rpc/grpc-js-transport.fixture.ts';
import { CERTIFICATE } from '../src/rpc/tls.fixture.ts';
import { type Collector, startCollector } from './support/collector.ts';
import type { ReceivedSpan } from './support/otlp-spans.ts';
import { openSlots, type Person, person } from './support/people.ts';
import { clientsOf, clientsOver, outcomeOf } from './support/process-client.ts';
import { endProcesses, type Service, startService } from './support/process-service.ts';
import { startServer, type TestServer } from './support/server.ts';

/** In everything that people write, and in no span. */
const MARK = 'zqxjkv';
/** Less than the spans of three thousand calls are. */
const LEAK_BYTES = 2.5 * 1024 * 1024;
const [INTERNAL, SERVER, CLIENT] = [1, 2, 3];

let server: TestServer; // prepares; the calls go to a process of its own
let collector: Collector;
let traced: Service;
let [doctor, patient] = [] as unknown as [Person, Person];

beforeAll(async () => {
  [server, collector] = await Promise.all([startServer(), startCollector()]);
  [doctor, patient] = [await person(server, 'DOCTOR', `Dr. ${MARK}`), await person(server, 'PATIENT', MARK)];
  traced = await start();
});

afterEach(() => collector.mood('takes'));

afterAll(async () => {
  endProcesses();
  await collector?.stop();
  await server?.stop();
});

type Environment = Readonly<Record<string, string>>;

const start = (env: Environment = {}) =>
  startService({
    DATABASE_URL: server.url,
    JWT_KEYS_FILE: server.keysFile,
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.httpUrl,
    OTEL_BSP_SCHEDULE_DELAY: '200',
    ...env,
  });

/** What a client's own span is named in a header. */
function clientSpan(sampled = true) {
  const [traceId, spanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
  return { traceId, spanId, headers: { traceparent: `00-${traceId}-${spanId}-0${sampled ? 1 : 0}` } };
}

/** What has a process run `code` before anything else. */
const importing = (code: string) => `--import=data:text/javascript,${encodeURIComponent(code)}`;

const ofTrace = (traceId: string) => (span: ReceivedSpan) => span.traceId === traceId;

let hours = 0;
async function freeSlot(): Promise<string> {
  hours += 24;
  const [slot] = await openSlots(server, doctor.id, { inMinutes: hours * 60 });
  return slot?.id ?? '';
}

/** A booking by somebody who says too much, in the trace of `span`. */
async function book(service: Service, { headers }: { headers: object }) {
  const request = { requestId: randomUUID(), slotId: await freeSlot(), reasonForVisit: `${MARK} hurts` };
  const { booking } = clientsOf(service).json;
  await booking.bookSlot(request, { headers: { ...patient.headers, ...headers, 'user-agent': `Browser ${MARK}` } });
  return request;
}

test('one trace leads from an HTTP client through the booking to each of its statements; the log has its id', async () => {
  const client = clientSpan();
  const { requestId, slotId } = await book(traced, client);
  const spans = await collector.received(ofTrace(client.traceId), 5);
  const [call, more] = spans.filter(({ kind }) => kind === SERVER);
  expect(more).toBeUndefined();
  expect(call).toMatchObject({
    name: 'amrutam.booking.v1.BookingService/BookSlot',
    parentSpanId: client.spanId,
    status: 0,
    attributes: { 'rpc.method': 'BookSlot', 'rpc.response.status_code': 'OK' },
    resource: { 'service.name': 'amrutam', 'service.version': '0.1.0' },
  });
  const [unit] = spans.filter(({ parentSpanId, name }) => parentSpanId === call?.spanId && name === 'unit of work');
  expect(unit).toMatchObject({ kind: INTERNAL, attributes: { 'amrutam.unit': 'once' } });
  const statements = spans.filter(({ kind }) => kind === CLIENT);
  expect(statements.map(({ name, parentSpanId }) => [name, parentSpanId === unit?.spanId])).toEqual([
    ['WITH', true],
    ['WITH', true],
    ['COMMIT', true],
  ]);
  const texts = statements.map(({ attributes }) => `${attributes['db.query.text']}`);
  expect(texts[0]).toMatch(/INSERT INTO idempotency .* VALUES \(\$1, \$2, \$3, \$4/s);
  expect(texts[1]).toMatch(/INSERT INTO "booking"/);
  const told = JSON.stringify(spans).toLowerCase();
  for (const value of [MARK, requestId, slotId, patient.id, doctor.id]) expect(told).not.toContain(value);
  await traced.wrote(client.traceId);
  const line =
    traced
      .output()
      .split('\n')
      .find((one) => one.includes(client.traceId)) ?? '{}';
  expect(JSON.parse(line)).toMatchObject({
    requestId: call?.attributes['amrutam.request_id'],
    traceId: client.traceId,
    method: call?.name,
    code: 'OK',
    durationMs: expect.any(Number),
    callerId: patient.id,
    role: 'PATIENT',
    peer: '127.0.0.1',
  });
});

test('over every protocol a call belongs to the trace that it names; one that names none begins its own', async () => {
  const grpcUrl = `http://127.0.0.1:${traced.grpcPort}`;
  const http = { baseUrl: `http://127.0.0.1:${traced.httpPort}`, httpVersion: '1.1' as const };
  const transports = {
    gRPC: createGrpcTransport({ baseUrl: grpcUrl }),
    'gRPC by grpc-js': grpcJsTransport(`127.0.0.1:${traced.grpcPort}`),
    'gRPC-Web': createGrpcWebTransport(http),
    Connect: createConnectTransport({ ...http, useBinaryFormat: true }),
    JSON: createConnectTransport({ ...http, useBinaryFormat: false }),
    'Connect GET': createConnectTransport({ ...http, useHttpGet: true }),
  };
  for (const [protocol, transport] of Object.entries(transports)) {
    const client = clientSpan();
    await clientsOver(transport).availability.getDoctor({ doctorId: doctor.id }, { headers: client.headers });
    const [call] = await collector.received((span) => ofTrace(client.traceId)(span) && span.kind === SERVER, 1);
    expect({ protocol, parent: call?.parentSpanId }).toEqual({ protocol, parent: client.spanId });
    const bad = { headers: { traceparent: `00-${MARK}-${client.spanId}-01`, 'x-request-id': `bad-${client.spanId}` } };
    await clientsOver(transport).availability.getDoctor({ doctorId: doctor.id }, bad);
    const own = (span: ReceivedSpan) => span.attributes['amrutam.request_id'] === `bad-${client.spanId}`;
    const [alone] = await collector.received(own, 1);
    expect({ protocol, parent: alone?.parentSpanId }).toEqual({ protocol, parent: '' });
  }
});

test('a refusal is an answer and a failure is an error, each with its reason', async () => {
  const [refused, late] = [clientSpan(), clientSpan()];
  const { booking } = clientsOf(traced).grpc;
  const request = { requestId: randomUUID(), slotId: randomUUID() };
  const as = (client: typeof refused) => ({ headers: { ...patient.headers, ...client.headers } });
  await outcomeOf(as(refused), (o) => booking.bookSlot(request, o));
  expect(await codeOfLate(as(late).headers)).toBe('deadline_exceeded');
  const callOf = async ({ traceId }: typeof refused) =>
    (await collector.received((span) => span.traceId === traceId && span.kind === SERVER, 1))[0];
  expect(await callOf(refused)).toMatchObject({
    status: 0,
    attributes: { 'rpc.response.status_code': 'NOT_FOUND', 'amrutam.reason': 'SLOT_NOT_FOUND' },
  });
  expect(await callOf(late)).toMatchObject({ status: 2, attributes: { 'error.type': 'DEADLINE_EXCEEDED' } });
});

/** The code that a booking gets whose patient's row is locked until its deadline is over; the client itself waits on. */
async function codeOfLate(headers: object): Promise<unknown> {
  return inTransaction(server.orm, AbortSignal.timeout(10_000), async (em) => {
    await rows(em, sql`SELECT FROM app_user WHERE id = ${patient.id} FOR UPDATE`);
    const answer = await fetch(`http://127.0.0.1:${traced.httpPort}/amrutam.booking.v1.BookingService/BookSlot`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'connect-timeout-ms': '200', ...headers },
      body: JSON.stringify({ requestId: randomUUID(), slotId: randomUUID() }),
    });
    return ((await answer.json()) as { code: unknown }).code;
  });
}

test.each(['http/json', 'grpc'] as const)(
  'by %s, with the headers and the share of calls that are set',
  async (protocol) => {
    const service = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: protocol === 'grpc' ? collector.grpcUrl : collector.httpUrl,
      OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
      OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=clinic-7',
      OTEL_SERVICE_NAME: 'clinic',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0',
    });
    const [sampled, not] = [clientSpan(), clientSpan(false)];
    for (const client of [not, sampled]) await book(service, client);
    for (let i = 0; i < 5; i++) await clientsOf(service).grpc.availability.searchDoctors({});
    const spans = await collector.received(ofTrace(sampled.traceId), 5);
    expect(spans[0]?.resource).toMatchObject({ 'deployment.environment.name': 'test', 'service.name': 'clinic' });
    expect(collector.headers()).toMatchObject({ 'x-tenant': 'clinic-7' });
    service.kill('SIGTERM');
    expect((await service.ended).code).toBe(0);
    expect(collector.spans.filter(ofTrace(not.traceId))).toEqual([]);
    const searches = collector.spans.filter(({ name }) => name.endsWith('SearchDoctors'));
    expect(searches.filter(({ resource }) => resource['service.name'] === 'clinic')).toEqual([]);
  },
);

test('what is left is sent when the service stops, of two processes too', async () => {
  const service = await start({ OTEL_BSP_SCHEDULE_DELAY: '60000', PROCESSES: '2' });
  const clients = Array.from({ length: 6 }, () => clientSpan());
  for (const client of clients) await book(service, client);
  expect(collector.spans.filter(({ traceId }) => clients.some((client) => client.traceId === traceId))).toEqual([]);
  service.kill('SIGTERM');
  expect((await service.ended).code).toBe(0);
  for (const { traceId } of clients) expect(collector.spans.filter(ofTrace(traceId))).toHaveLength(5);
});

const NARROW = { OTEL_BSP_MAX_QUEUE_SIZE: '200', OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '100' };

/** Reads `count` times, fifty at once; the milliseconds of each. */
async function read(service: Service, count: number): Promise<number> {
  const { availability } = clientsOf(service).grpc;
  const begun = performance.now();
  const crowd = () => Promise.all(Array.from({ length: 50 }, () => availability.getDoctor({ doctorId: doctor.id })));
  for (let i = 0; i < count; i += 50) await crowd();
  return (performance.now() - begun) / count;
}

/** It ends soon and well, having complained of spans once at most. */
async function mustStop(service: Service): Promise<void> {
  const asked = performance.now();
  service.kill('SIGTERM');
  expect((await service.ended).code).toBe(0);
  expect(performance.now() - asked).toBeLessThan(8_000);
  expect(service.output()).not.toMatch(/"level":(50|60)/);
  expect(service.output().split('spans could not be sent').length - 1).toBeLessThanOrEqual(1);
}

test('a collector that hangs costs spans and nothing else: no call waits for it, and spans don’t pile up', async () => {
  collector.mood('hangs');
  const service = await start({ NODE_OPTIONS: `--expose-gc ${importing(TELL_HEAP)}`, ...NARROW });
  await read(service, 500);
  const before = await heapOf(service);
  expect(await read(service, 3_000)).toBeLessThan(50);
  expect((await heapOf(service)) - before).toBeLessThan(LEAK_BYTES);
  await book(service, clientSpan());
  await mustStop(service);
});

test.each(['refuses', 'is gone'] as const)('nor does one that %s', async (mood) => {
  if (mood === 'refuses') collector.mood(mood);
  const gone = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' };
  const service = await start({ ...(mood === 'is gone' && gone), ...NARROW });
  await read(service, 500);
  await book(service, clientSpan());
  await mustStop(service);
});

/** Tells, on a signal, how many bytes are in use that are no garbage. */
const TELL_HEAP = `process.on('SIGUSR2', () => { gc(); process.stdout.write('HEAP ' + process.memoryUsage().heapUsed + '.'); });`;

async function heapOf(service: Service): Promise<number> {
  const told = () => service.output().match(/HEAP \d+\./g) ?? [];
  const before = told().length;
  service.kill('SIGUSR2');
  for (const deadline = Date.now() + 5_000; told().length === before; await sleep(20))
    if (Date.now() > deadline) throw new Error('the process does not tell');
  return Number(/\d+/.exec(told().at(-1) ?? '')?.[0]);
}

/** Prints, when the process ends, which of OpenTelemetry's packages it has loaded. */
const TELL_LOADED = `import { createRequire } from 'node:module';
process.on('exit', () => process.stdout.write('LOADED ' + [...new Set(Object.keys(createRequire('/x').cache)
  .map((file) => /@opentelemetry.([\\w-]+)/.exec(file)?.[1]).filter(Boolean))].join() + '.'));`;

test.each([
  ['b3', ({ traceId, spanId }) => ({ b3: `${traceId}-${spanId}-1` })],
  [
    'tracecontext,b3multi',
    ({ traceId, spanId }) => ({ 'x-b3-traceid': traceId, 'x-b3-spanid': spanId, 'x-b3-sampled': '1' }),
  ],
  ['jaeger,baggage', ({ traceId, spanId }) => ({ 'uber-trace-id': `${traceId}:${spanId}:0:1` })],
] as const satisfies readonly [string, (client: ReturnType<typeof clientSpan>) => object][])(
  'OTEL_PROPAGATORS=%s: a call belongs to the trace that it names so; traceparent counts where it is in the list',
  async (propagators, headersOf) => {
    const service = await start({ OTEL_PROPAGATORS: propagators });
    const [client, w3c] = [clientSpan(), clientSpan()];
    const { availability } = clientsOf(service).grpc;
    await availability.getDoctor({ doctorId: doctor.id }, { headers: { ...headersOf(client) } });
    const [call] = await collector.received((span) => ofTrace(client.traceId)(span) && span.kind === SERVER, 1);
    expect(call?.parentSpanId).toBe(client.spanId);
    await availability.getDoctor({ doctorId: doctor.id }, { headers: { ...w3c.headers, 'x-request-id': w3c.spanId } });
    const [other] = await collector.received((span) => span.attributes['amrutam.request_id'] === w3c.spanId, 1);
    expect(other?.traceId === w3c.traceId).toBe(propagators.includes('tracecontext'));
    service.kill('SIGTERM');
  },
);

test('OTEL_PROPAGATORS=none and a sampler that takes no heed of clients: every call begins a trace of its own', async () => {
  const service = await start({
    OTEL_PROPAGATORS: 'none',
    OTEL_TRACES_SAMPLER: 'traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '1',
  });
  const client = clientSpan(false);
  const headers = { ...client.headers, 'x-request-id': client.spanId };
  await clientsOf(service).grpc.availability.getDoctor({ doctorId: doctor.id }, { headers });
  const [call] = await collector.received((span) => span.attributes['amrutam.request_id'] === client.spanId, 1);
  expect(call).toMatchObject({ parentSpanId: '' });
  expect(call?.traceId).not.toBe(client.traceId);
  service.kill('SIGTERM');
});

test.each(['http/protobuf', 'http/json', 'grpc'] as const)(
  'by %s over TLS, compressed, to a collector that both know by certificates; values are cut where they are told to be',
  async (protocol) => {
    const folder = await mkdtemp(join(tmpdir(), 'amrutam-otlp-'));
    const shy = await startCollector(CERTIFICATE);
    try {
      await writeFile(join(folder, 'cert.pem'), CERTIFICATE.cert);
      await writeFile(join(folder, 'key.pem'), CERTIFICATE.key);
      const service = await start({
        OTEL_EXPORTER_OTLP_ENDPOINT: protocol === 'grpc' ? shy.grpcUrl : shy.httpUrl,
        OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
        OTEL_EXPORTER_OTLP_CERTIFICATE: join(folder, 'cert.pem'),
        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: join(folder, 'cert.pem'),
        OTEL_EXPORTER_OTLP_CLIENT_KEY: join(folder, 'key.pem'),
        OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
        OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Basic%20YTpi,x-tenant=clinic-8',
        OTEL_SERVICE_NAME: 'over the attribute',
        OTEL_RESOURCE_ATTRIBUTES: 'service.name=under,team=a%20b',
        OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: '20',
      });
      const client = clientSpan();
      await book(service, client);
      const spans = await shy.received(ofTrace(client.traceId), 5);
      expect(spans[0]?.resource).toMatchObject({ 'service.name': 'over the attribute', team: 'a b' });
      const texts = spans.flatMap(({ attributes }) => attributes['db.query.text'] ?? []);
      expect(texts.length).toBeGreaterThan(0);
      for (const text of texts) expect(`${text}`.length).toBeLessThanOrEqual(20);
      expect(shy.headers()).toMatchObject({ authorization: 'Basic YTpi', 'x-tenant': 'clinic-8' });
      if (protocol !== 'grpc') expect(shy.headers()).toMatchObject({ 'content-encoding': 'gzip' });
      service.kill('SIGTERM');
      await service.ended;
    } finally {
      await shy.stop();
      await rm(folder, { recursive: true });
    }
  },
);

test('a collector that hangs is given up after OTEL_EXPORTER_OTLP_TIMEOUT', async () => {
  const silent = await startCollector();
  silent.mood('hangs');
  const service = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: silent.httpUrl, OTEL_EXPORTER_OTLP_TIMEOUT: '300' });
  await service.wrote('serving');
  // In the ten seconds that are usual there would be one.
  for (const deadline = Date.now() + 9_000; silent.requests() < 4; await sleep(100)) {
    await book(service, clientSpan());
    if (Date.now() > deadline) throw new Error(`${silent.requests()} requests`);
  }
  service.kill('SIGTERM');
  await service.ended;
  await silent.stop();
});

test('without an endpoint the SDK is not even loaded, and a call still says which trace it belongs to', async () => {
  const NODE_OPTIONS = importing(TELL_LOADED);
  const loadedBy = async (env: Environment) => {
    const service = await start({ NODE_OPTIONS, ...env });
    const client = clientSpan();
    await book(service, client);
    service.kill('SIGTERM');
    const { output } = await service.ended;
    expect(output).toContain(`"traceId":"${client.traceId}"`);
    return /LOADED ([\w,-]*)\./.exec(output)?.[1]?.split(',') ?? [];
  };
  expect(await loadedBy({})).toContain('sdk-trace');
  const without: Environment[] = [
    { OTEL_EXPORTER_OTLP_ENDPOINT: '' },
    { OTEL_SDK_DISABLED: 'true' },
    { OTEL_TRACES_EXPORTER: 'none' },
  ];
  for (const env of without) expect((await loadedBy(env)).filter((name) => name !== 'api')).toEqual([]);
});
