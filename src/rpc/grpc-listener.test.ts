import { once } from 'node:events';
import http2 from 'node:http2';
import { afterEach, describe, expect, test } from '@jest/globals';
import { Kinds } from './kinds.fixture.ts';
import { LIMITS } from './limits.ts';
import { type Listeners, listeners } from './listeners.fixture.ts';

let served: Listeners;
let session: http2.ClientHttp2Session;

afterEach(async () => {
  session.destroy();
  await served.close();
});

function connect(port: 'grpc' | 'https', options: http2.SecureClientSessionOptions = {}): void {
  const authority = `${port === 'grpc' ? 'http' : 'https'}://127.0.0.1:${served[port]}`;
  session = http2.connect(authority, { rejectUnauthorized: false, ...options });
  session.on('error', () => {});
}

function ask(method: string): http2.ClientHttp2Stream {
  const path = method.startsWith('/') ? method : `/${Kinds.typeName}/${method}`;
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  return stream.on('error', () => {});
}

describe.each(['grpc', 'https'] as const)('%s', (port) => {
  test('a connection is told how many streams and headers it may send', async () => {
    served = await listeners({});
    connect(port);
    const [settings] = (await once(session, 'remoteSettings')) as [http2.Settings];
    expect(settings).toMatchObject({ maxConcurrentStreams: LIMITS.streams, maxHeaderListSize: LIMITS.headerBytes });
  });

  test("a proxy's connection may break off as many calls as nghttp2 is told, and no more", async () => {
    served = await listeners({}, { limits: { proxyResetBurst: 20, proxyResetRate: 1 }, trustedProxies: ['127.0.0.1'] });
    connect(port);
    await once(session, 'remoteSettings');
    const closed = new Promise((resolve) => session.once('close', () => resolve(true)));
    const stays = new Promise((resolve) => setTimeout(resolve, 2_000, false));
    for (let i = 0; i < 60; i++) ask('Unary').close(http2.constants.NGHTTP2_CANCEL);
    expect(await Promise.race([closed, stays])).toBe(true);
  });

  test("who doesn't read on a proxy's connection keeps nobody else's call from it", async () => {
    served = await listeners(
      { kinds: { unary: () => ({ text: 'x'.repeat(400_000) }) } as never },
      { trustedProxies: ['127.0.0.1'] },
    );
    connect(port);
    await once(session, 'remoteSettings');
    for (let i = 0; i < 75; i++) ask('Unary').end(Buffer.alloc(5));
    await new Promise((resolve) => setTimeout(resolve, 700));
    const other = ask('/grpc.health.v1.Health/Check').resume();
    const trailers = once(other, 'trailers');
    other.end(Buffer.alloc(5));
    expect((await trailers)[0]).toMatchObject({ 'grpc-status': '0' });
  });
});
