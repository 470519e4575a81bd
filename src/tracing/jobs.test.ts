import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Collector, startCollector } from '../../test/support/collector.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';
import { forkFor, rows } from '../db/statement.ts';
import type { Job } from '../jobs/job.ts';
import { JOBS } from '../jobs/jobs.ts';
import { registerJobs } from '../jobs/lease.ts';
import { perform } from '../jobs/perform.ts';
import { createLog } from '../log.ts';
import { startTracing } from './start-tracing.ts';

const [purge] = JOBS as [Job];

let server: TestServer;
let collector: Collector;
let stop: () => Promise<void>;

beforeAll(async () => {
  [server, collector] = await Promise.all([startServer(), startCollector()]);
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = collector.httpUrl;
  const log = createLog('info', { write() {} });
  stop = await startTracing({ tracing: { protocol: 'http/protobuf', propagators: [] }, instance: 'test' }, log);
});

afterAll(async () => {
  delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT;
  await collector?.stop();
  await server?.stop();
});

test('a job is a trace of its own, with its statements; what is asked beside belongs to no trace and makes none', async () => {
  const orm = server.orm;
  await registerJobs(
    orm,
    JOBS.map(({ name }) => name),
  );
  const broken = { ...purge, name: 'extend-audit-log', run: () => Promise.reject(new Error('patient@example.test')) };
  const once = { orm, holder: 'one', leaseMs: 30_000, signal: new AbortController().signal };
  await perform(purge, once);
  await perform(broken, once).catch(() => {});
  await rows(forkFor(orm), sql`SELECT 'beside'`);
  await stop();
  const { spans } = collector;
  const [job, failed] = [purge, broken].map((wanted) => spans.find(({ name }) => name === `job ${wanted.name}`));
  expect(job).toMatchObject({ parentSpanId: '', status: 0, resource: { 'service.instance.id': 'test' } });
  const inside = spans.filter(({ parentSpanId }) => parentSpanId === job?.spanId);
  expect(inside.map(({ attributes }) => `${attributes['db.query.text']}`).join()).toMatch(/DELETE FROM "idempotency"/);
  expect(failed).toMatchObject({ status: 2, attributes: { 'error.type': 'Error' } });
  expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(2);
  expect(JSON.stringify(spans)).not.toContain('patient@example.test');
});
