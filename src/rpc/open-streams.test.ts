import { once } from 'node:events';
import http2 from 'node:http2';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { afterEach, describe, expect, test } from '@jest/globals';
import { ErrorInfoSchema, RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { Health } from '../../gen/health/v1/health_pb.ts';
import type { HttpListenerOptions } from './http-listener.ts';
import type { Limits } from './limits.ts';
import { type Listeners, listeners, transports } from './listeners.fixture.ts';

let served: Listeners;
let open: http2.ClientHttp2Session[] = [];

afterEach(async () => {
  for (const session of open) session.destroy();
  open = [];
  await served.close();
});

async function serve(limits: Partial<Limits>, options: Partial<HttpListenerOptions> = {}): Promise<void> {
  served = await listeners({}, { limits, ...options });
}

/** A call that its client doesn't end, from an address of its own; resolves with how the server ended it, if it does soon. */
async function dawdle(port: 'grpc' | 'https', session: http2.ClientHttp2Session): Promise<number | 'open'> {
  const path = '/amrutam.availability.v1.AvailabilityService/GetSlot';
  const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' });
  stream.on('error', () => {}).resume();
  const ended = new Promise<number>((resolve) => stream.once('close', () => resolve(stream.rstCode ?? 0)));
  return Promise.race([ended, wait(port === 'grpc' ? 150 : 200).then(() => 'open' as const)]);
}

function connect(port: 'grpc' | 'https', localAddress: string): http2.ClientHttp2Session {
  const authority = `${port === 'grpc' ? 'http' : 'https'}://127.0.0.1:${served[port]}`;
  const session = http2.connect(authority, { rejectUnauthorized: false, localAddress } as object);
  session.on('error', () => {});
  open.push(session);
  return session;
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.each(['grpc', 'https'] as const)('%s', (port) => {
  const calm = http2.constants.NGHTTP2_ENHANCE_YOUR_CALM;

  test('a client has so many streams over all its connections; another, and a proxy, are not bounded by them', async () => {
    await serve({ streamsEach: 3, defaultDeadlineMs: 5_000 }, { trustedProxies: ['127.0.0.3'] });
    const [one, two] = [connect(port, '127.0.0.2'), connect(port, '127.0.0.2')];
    expect(await Promise.all([one, one, two].map((session) => dawdle(port, session)))).toEqual([
      'open',
      'open',
      'open',
    ]);
    expect(await dawdle(port, two)).toBe(calm);
    const [other, proxy] = [connect(port, '127.0.0.4'), connect(port, '127.0.0.3')];
    expect(await dawdle(port, other)).toBe('open');
    expect(await Promise.all(Array.from({ length: 6 }, () => dawdle(port, proxy)))).not.toContain(calm);
    one.destroy();
    await wait(50);
    expect(await dawdle(port, two)).toBe('open');
  });

  test('who hangs up in the middle of calls has broken them off', async () => {
    await serve({ resetBurst: 5, resetRate: 1 });
    const hangsUp = connect(port, '127.0.0.2');
    await Promise.all(Array.from({ length: 10 }, () => dawdle(port, hangsUp)));
    hangsUp.destroy();
    await wait(100);
    const again = connect(port, '127.0.0.2');
    await dawdle(port, again);
    expect([again.destroyed, await dawdle(port, connect(port, '127.0.0.4'))]).toEqual([true, 'open']);
  });
});

test('calls that end well are not broken off', async () => {
  await serve({ resetBurst: 2, resetRate: 0.001 });
  const clients = Object.values(transports(served)).map((transport) => createClient(Health, transport));
  for (let i = 0; i < 4; i++) await Promise.all(clients.map((client) => client.check({})));
});

/** A watch that has told its first status; or why it has not. */
async function watch(name: string, forwardedFor?: string): Promise<ConnectError | (() => Promise<unknown>)> {
  const stop = new AbortController();
  const headers: Record<string, string> = forwardedFor ? { 'x-forwarded-for': forwardedFor } : {};
  const statuses = createClient(Health, transports(served)[name] as never).watch({}, { signal: stop.signal, headers });
  const told = statuses[Symbol.asyncIterator]();
  const failed = await told.next().then(() => undefined, ConnectError.from);
  if (failed) return failed;
  return async () => {
    stop.abort();
    await told.next().catch(() => {});
    await wait(100);
  };
}

describe.each(['gRPC', 'gRPC-Web', 'gRPC, TLS', 'Connect, TLS'])('%s', (name) => {
  test('a client may watch so often at once, and is told when to come again', async () => {
    await serve({ watchesEach: 2 });
    const [first] = [await watch(name), await watch(name)];
    const refused = (await watch(name)) as ConnectError;
    expect([refused.code, refused.findDetails(ErrorInfoSchema)[0]?.reason]).toEqual([Code.Unavailable, 'OVERLOADED']);
    expect(refused.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds).toBe(5n);
    await (first as () => Promise<unknown>)();
    expect(await watch(name)).toBeInstanceOf(Function);
  });
});

test("a proxy's clients are told apart by the addresses it names, and all together have so many watches", async () => {
  await serve({ watches: 3, watchesEach: 1 }, { trustedProxies: ['127.0.0.1'] });
  const outcomes: unknown[] = [];
  for (const address of ['203.0.113.1', '203.0.113.1', '203.0.113.2', undefined, undefined])
    outcomes.push(((await watch('gRPC', address)) as ConnectError).code);
  expect(outcomes).toEqual([undefined, Code.Unavailable, undefined, undefined, Code.Unavailable]);
});

test('refused streams are counted in the log, with the client who is refused most', async () => {
  await serve({ streamsEach: 1 });
  const [one, other] = [connect('grpc', '127.0.0.2'), connect('grpc', '127.0.0.4')];
  await Promise.all([one, one, one, other, other].map((session) => dawdle('grpc', session)));
  expect(served.log.find(({ msg }) => msg === 'turned away')).toMatchObject({ mostly: '127.0.0.2' });
  await Promise.all([one, other].map((session) => once(session.destroy() ?? session, 'close')));
});
