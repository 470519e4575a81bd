import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { Fault } from '../fault.ts';
import { httpListener } from './http-listener.ts';
import type { Readiness } from './http-pages.ts';
import type { Limits } from './limits.ts';
import { type Listeners, listeners, transports } from './listeners.fixture.ts';

const ID = '0192f0c4-7e5a-7b3c-8d2e-1f2a3b4c5d6e';
const METHOD = '/amrutam.availability.v1.AvailabilityService/GetSlot';
const QUERY = `?connect=v1&encoding=json&message=${encodeURIComponent(JSON.stringify({ slotId: ID }))}`;

let served: Listeners;
let readiness: () => Promise<Readiness>;
let jwks: () => Promise<object>;

beforeAll(async () => {
  served = await listeners(
    {
      availability: {
        getSlot: ({ slotId }) => {
          if (slotId !== ID) throw new Fault('SLOT_NOT_FOUND', 'no such slot');
          return { slot: { id: ID } };
        },
      },
    },
    {
      corsOrigins: ['https://app.test'],
      trustedProxies: ['127.0.0.0/8', '10.0.0.1'],
      ready: () => readiness(),
      jwks: () => jwks(),
    },
  );
});

afterAll(() => served.close());

const ask = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${served.http}${path}`, init);
const post = (headers: Record<string, string> = {}, slotId = ID) =>
  ask(METHOD, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ slotId }),
  });

describe('pages', () => {
  test('the key set, for a minute', async () => {
    jwks = async () => ({ keys: [{ kid: '1' }] });
    const answer = await ask('/.well-known/jwks.json');
    expect([answer.status, await answer.json()]).toEqual([200, { keys: [{ kid: '1' }] }]);
    expect(answer.headers.get('cache-control')).toBe('public, max-age=60');
  });

  test('alive', async () => {
    const answer = await ask('/livez');
    expect([answer.status, await answer.json(), answer.headers.get('cache-control')]).toEqual([
      200,
      { status: 'alive' },
      'no-store',
    ]);
    expect(await (await ask('/livez', { method: 'HEAD' })).text()).toBe('');
  });

  test('ready, not ready, and no answer', async () => {
    readiness = async () => ({ ready: true, reasons: [] });
    expect((await ask('/readyz')).status).toBe(200);
    readiness = async () => ({ ready: false, reasons: ['the database does not answer'] });
    const answer = await ask('/readyz');
    expect([answer.status, await answer.json()]).toEqual([
      503,
      { ready: false, reasons: ['the database does not answer'], warnings: [] },
    ]);
    readiness = () => new Promise(() => {});
    expect((await ask('/readyz')).status).toBe(503);
  });

  test('a page that breaks tells nothing, and is logged', async () => {
    jwks = () => Promise.reject(new Error('secret'));
    const answer = await ask('/.well-known/jwks.json');
    expect([answer.status, await answer.json()]).toEqual([500, { code: 'internal', message: 'internal error' }]);
    expect(served.log.some(({ level, err }) => level === 'error' && String(err).includes('secret'))).toBe(true);
  });

  test('404 and 405', async () => {
    const nothing = await ask('/nothing');
    expect([nothing.status, nothing.headers.get('content-type')]).toEqual([404, 'application/json']);
    const wrong = await ask('/livez', { method: 'POST' });
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    const rpc = await ask(METHOD, { method: 'PUT' });
    expect([rpc.status, rpc.headers.get('allow')?.includes('POST')]).toEqual([405, true]);
    const noGet = await ask(`/amrutam.auth.v1.AuthService/LogIn${QUERY}`);
    expect(noGet.status).toBe(405);
  });
});

describe('headers', () => {
  test.each(['/livez', METHOD + QUERY, '/nothing'])('security headers at %s', async (path) => {
    const { headers } = await ask(path);
    expect(Object.fromEntries(headers)).toMatchObject({
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
    });
    expect(headers.get('strict-transport-security')).toBeNull();
  });

  test('a public read may be kept for a second; nothing else', async () => {
    const kept = async (answer: Promise<Response>) => (await answer).headers.get('cache-control');
    expect(await kept(ask(METHOD + QUERY))).toBe('public, max-age=1');
    expect((await ask(METHOD + QUERY)).headers.get('vary')).toContain('authorization');
    expect(await kept(ask(METHOD + QUERY.replace(/1f2a/, '0000')))).toBe('no-store');
    expect(await kept(ask(METHOD + QUERY, { headers: { authorization: 'Bearer patient' } }))).toBe('private, no-store');
    expect(await kept(post())).toBe('no-store');
    expect(await kept(post({ authorization: 'Bearer patient' }))).toBe('private, no-store');
  });

  test('a request id is echoed when it is sane, and made when not', async () => {
    expect((await post({ 'x-request-id': 'a.b_c-1' })).headers.get('x-request-id')).toBe('a.b_c-1');
    for (const odd of ['', 'a b', 'x'.repeat(65), '<script>']) {
      expect((await post({ 'x-request-id': odd })).headers.get('x-request-id')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    }
  });

  test('two authorization headers are a bad one', async () => {
    const request = http.request({
      port: served.http,
      host: '127.0.0.1',
      path: METHOD,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    request.setHeader('authorization', ['Bearer patient', 'Bearer doctor']);
    request.end('{}');
    const [answer] = await once(request, 'response');
    expect(answer.resume().statusCode).toBe(401);
  });

  test('the client is whom trusted proxies say it is', async () => {
    const peerOf = async (forwarded: string) => {
      await post({ 'x-forwarded-for': forwarded });
      return served.log.at(-1)?.peer;
    };
    expect(await peerOf('203.0.113.9, 10.0.0.1')).toBe('203.0.113.9');
    expect(await peerOf('1.1.1.1, 203.0.113.9')).toBe('203.0.113.9');
    const client = createClient(AvailabilityService, transports(served).gRPC as never);
    await client.getSlot({ slotId: ID }, { headers: { 'x-forwarded-for': '198.51.100.7, 10.0.0.1' } });
    expect(served.log.at(-1)?.peer).toBe('198.51.100.7');
  });
});

describe('other origins', () => {
  const preflight = (origin: string) =>
    ask(METHOD, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
    });

  test('a listed one may call and read', async () => {
    const { status, headers } = await preflight('https://app.test');
    expect(status).toBe(204);
    expect(headers.get('access-control-allow-origin')).toBe('https://app.test');
    expect(headers.get('access-control-allow-headers')?.toLowerCase()).toMatch(
      /connect-protocol-version.*x-grpc-web.*authorization.*x-request-id/,
    );
    expect(headers.get('access-control-allow-methods')).toBe('POST, GET');
    expect(Number(headers.get('access-control-max-age'))).toBeGreaterThan(0);
    const answer = await post({ origin: 'https://app.test' });
    expect(answer.headers.get('access-control-allow-origin')).toBe('https://app.test');
    expect(answer.headers.get('access-control-expose-headers')?.toLowerCase()).toMatch(
      /grpc-status.*x-request-id.*idempotency-replayed/,
    );
    expect(answer.headers.get('vary')).toContain('origin');
    expect(answer.headers.get('access-control-allow-credentials')).toBeNull();
  });

  test.each(['https://evil.test', 'https://app.test.evil.test', 'http://app.test', 'null'])(
    '%s may not',
    async (origin) => {
      const { headers } = await preflight(origin);
      expect([...headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
      expect((await post({ origin })).headers.get('access-control-allow-origin')).toBeNull();
    },
  );

  test.each([
    [[], null],
    [['*'], '*'],
  ])('with the list %j the answer says %j', async (corsOrigins, expected) => {
    const listener = httpListener({
      routes: [],
      interceptors: [],
      log: { info() {}, error() {} },
      jwks,
      ready: readiness,
      corsOrigins,
    });
    const port = await listener.listen('127.0.0.1', 0);
    const answer = await fetch(`http://127.0.0.1:${port}/livez`, { headers: { origin: 'https://app.test' } });
    expect(answer.headers.get('access-control-allow-origin')).toBe(expected);
    await listener.close(0);
  });
});

test('a refused request leaves its connection usable', async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const send = async (body: string) => {
    const request = http.request({
      agent,
      port: served.http,
      host: '127.0.0.1',
      path: METHOD,
      method: 'POST',
      headers: { 'content-type': 'application/json', 'transfer-encoding': 'chunked' },
    });
    request.end(body);
    const [answer] = await once(request, 'response');
    answer.resume();
    await once(answer, 'end');
    return [answer.statusCode, request.reusedSocket];
  };
  expect(await send(JSON.stringify({ slotId: 'x'.repeat(500_000) }))).toEqual([429, false]);
  expect(await send(JSON.stringify({ slotId: ID }))).toEqual([200, true]);
  agent.destroy();
});

test('a port in use is the socket error itself', async () => {
  const other = net.createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as net.AddressInfo;
  const listener = httpListener({
    routes: [],
    interceptors: [],
    log: { info() {}, error() {} },
    jwks,
    ready: readiness,
    corsOrigins: [],
  });
  await expect(listener.listen('127.0.0.1', port)).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await listener.close(0);
  other.close();
});

describe('an HTTP/2 connection over TLS', () => {
  /** Makes a call, and waits for what the server does with the connection: milliseconds until it asks to go. */
  async function asksToGoAfter(limits: Partial<Limits>): Promise<number> {
    const own = await listeners({}, { limits });
    const session = http2.connect(`https://127.0.0.1:${own.https}`, { rejectUnauthorized: false });
    const asked = new Promise((resolve) => session.on('error', () => {}).once('goaway', resolve));
    await once(session.request({ ':path': '/livez' }).resume(), 'close');
    const startedAt = performance.now();
    await asked;
    session.destroy();
    await own.close();
    return performance.now() - startedAt;
  }

  test('stays for idleMs without a call, longer than one on which somebody is waited for', async () => {
    expect(await asksToGoAfter({ stillMs: 100, idleMs: 600 })).toBeGreaterThan(500);
  });

  test('is asked to go when it is old', async () => {
    expect(await asksToGoAfter({ ageMs: 200 })).toBeLessThan(2_000);
  });
});
