import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Counter, Registry } from 'prom-client';
import { createLog } from '../log.ts';
import { type MetricsPort, openMetricsPort } from './port.ts';

const lines: string[] = [];
const log = createLog('info', { write: (line: string) => void lines.push(line) });
const ANYWHERE = { metricsHost: '127.0.0.1', metricsPort: 0 };

let port: MetricsPort;
let collected = 0;

beforeEach(async () => {
  port = await openMetricsPort(ANYWHERE, log);
  collected = 0;
  lines.length = 0;
});
afterEach(() => port.close());

function showSomething(ms = 0): void {
  const registry = new Registry();
  new Counter({ name: 'things_total', help: 'Things.', registers: [registry] }).inc(7);
  port.show(async () => {
    collected += 1;
    await sleep(ms);
    return [await registry.getMetricsAsJSON()];
  });
}

const ask = (path = '/metrics', init: RequestInit = {}) => fetch(`http://127.0.0.1:${port.port}${path}`, init);

/** What comes back for `bytes` on a connection of its own, until it is closed or `ms` have passed. */
async function answerTo(bytes: string | Buffer, ms = 1_000): Promise<string> {
  const socket = connect(port.port, '127.0.0.1').on('error', () => {});
  let answer = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    answer += chunk;
  });
  socket.write(bytes);
  const closed = new Promise((resolve) => void socket.once('close', resolve));
  await Promise.race([closed, sleep(ms)]);
  socket.destroy();
  return answer;
}

test('it shows what is collected, in the form that Prometheus reads; before there is any it says so', async () => {
  expect((await ask()).status).toBe(503);
  showSomething();
  const answer = await ask();
  expect([answer.status, answer.headers.get('content-type')]).toEqual([
    200,
    'text/plain; version=0.0.4; charset=utf-8',
  ]);
  expect(await answer.text()).toContain('# TYPE things_total counter\nthings_total 7\n');
  const head = await ask('/metrics?x=1', { method: 'HEAD' });
  expect([head.status, await head.text()]).toEqual([200, '']);
});

test('a hundred who ask at once are told from one collection', async () => {
  showSomething(200);
  const answers = await Promise.all(Array.from({ length: 60 }, () => ask()));
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  expect(collected).toBeLessThan(5);
});

test('nothing else is there, and what fails is told and logged', async () => {
  showSomething();
  expect([(await ask('/')).status, (await ask('/metrics', { method: 'DELETE' })).status]).toEqual([404, 405]);
  expect((await ask('/metrics', { method: 'POST', body: 'x'.repeat(1_000_000) })).status).toBe(405);
  port.show(() => Promise.reject(new Error('no metrics today')));
  const failed = await ask();
  expect([failed.status, await failed.text()]).toEqual([500, 'the metrics could not be collected\n']);
  expect(lines.join()).toContain('no metrics today');
  showSomething();
  expect((await ask()).status).toBe(200);
});

test('whatever bytes come, it goes on', async () => {
  showSomething();
  const head = 'GET /metrics HTTP/1.1\r\nhost: x\r\n';
  const sent = [
    'GET\r\n\r\n',
    '\0\xff\x16\x03\x01',
    `${head}x: ${'y'.repeat(100_000)}\r\n\r\n`,
    `${head}content-length: -1\r\n\r\n`,
    `${head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n`,
    `${head}transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n`,
    `${head}upgrade: websocket\r\nconnection: upgrade\r\n\r\n`,
    `${head}expect: 100-continue\r\ncontent-length: 9\r\n\r\n`,
    'CONNECT evil:80 HTTP/1.1\r\nhost: x\r\n\r\n',
    'GET http://[::::]/metrics HTTP/1.1\r\nhost: x\r\n\r\n',
    'GET /%00%ff/../metrics?\u00e9 HTTP/1.1\r\nhost: x\r\n\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    Buffer.alloc(200_000, 0xff),
    head.repeat(200),
  ];
  await Promise.all(sent.map((bytes) => answerTo(bytes)));
  expect((await ask()).status).toBe(200);
  expect(lines.filter((line) => /"level":(50|60)/.test(line))).toEqual([]);
});

test('connections that say nothing are closed, so that there is room again', async () => {
  showSomething();
  const idle = Array.from({ length: 100 }, () => connect(port.port, '127.0.0.1').on('error', () => {}));
  await sleep(200);
  expect((await ask().catch(() => undefined))?.status).toBeUndefined();
  const begun = performance.now();
  let status = 0;
  while (status !== 200 && performance.now() - begun < 15_000) {
    status = await ask().then(
      (answer) => answer.status,
      () => 0,
    );
    await sleep(200);
  }
  expect(status).toBe(200);
  for (const socket of idle) socket.destroy();
}, 30_000);

test('a port that is taken is named, with its variable', async () => {
  await expect(openMetricsPort({ ...ANYWHERE, metricsPort: port.port }, log)).rejects.toThrow(
    `METRICS_PORT: can't listen on 127.0.0.1:${port.port}: another process uses it already. Choose another with METRICS_PORT=…, or METRICS_HOST`,
  );
});
