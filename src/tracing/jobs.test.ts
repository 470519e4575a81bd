import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Collector, startCollector } from '../../test/support/collector.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { keepUp } from '../db/upkeep.ts';
import { createLog } from '../log.ts';
import { startTracing } from './start-tracing.ts';
import { inJob } from './tracer.ts';

let server: TestServer;
let collector: Collector;
let stop: () => Promise<void>;

beforeAll(async () => {
  [server, collector] = await Promise.all([startServer(), startCollector()]);
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = collector.httpUrl;
  const log = createLog('info', { write() {} });
  stop = await startTracing({ tracing: { protocol: 'http/protobuf' }, instance: 'test' }, log);
});

afterAll(async () => {
  delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT;
  await collector?.stop();
  await server?.stop();
});

test('a job is a trace of its own, with its statements; what is asked beside belongs to no trace and makes none', async () => {
  await inJob('upkeep', () => keepUp(server.orm));
  await inJob('broken', () => Promise.reject(new Error('patient@example.test'))).catch(() => {});
  await keepUp(server.orm);
  await stop();
  const { spans } = collector;
  const [job, broken] = ['upkeep', 'broken'].map((wanted) => spans.find(({ name }) => name === wanted));
  expect(job).toMatchObject({ parentSpanId: '', status: 0, resource: { 'service.instance.id': 'test' } });
  const inside = spans.filter(({ parentSpanId }) => parentSpanId === job?.spanId);
  expect(inside.map(({ attributes }) => `${attributes['db.query.text']}`).join()).toMatch(/ensure_audit_partitions/);
  expect(broken).toMatchObject({ status: 2, attributes: { 'error.type': 'Error' } });
  expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(2);
  expect(JSON.stringify(spans)).not.toContain('patient@example.test');
});
