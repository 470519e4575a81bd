import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from '@jest/globals';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Status } from '../../gen/health/v1/health_pb.ts';
import { grpcListener } from './grpc-listener.ts';
import { LINGER_MS } from './listener.ts';
import { type Listeners, listeners, transports } from './listeners.fixture.ts';

const ID = '0192f0c4-7e5a-7b3c-8d2e-1f2a3b4c5d6e';
const NAMES = [
  'gRPC, grpc-js client',
  'gRPC',
  'gRPC-Web',
  'Connect JSON',
  'gRPC, TLS',
  'Connect, TLS',
  'Connect, TLS, HTTP/1',
];

let served: Listeners;

let begun: number;

async function serve(ms: number) {
  begun = 0;
  served = await listeners({
    availability: {
      getSlot: () => {
        begun += 1;
        return new Promise((resolve) => setTimeout(() => resolve({ slot: { id: ID } }), ms).unref());
      },
    },
  });
  return transports(served);
}

async function inFlight(calls: number) {
  while (begun < calls) await wait(5);
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

afterEach(() => served.close(0));

test('calls in flight are finished on every protocol, and then nothing is left open', async () => {
  const clients = await serve(400);
  const calls = NAMES.map((name) => {
    const transport = clients[name];
    if (!transport) throw new Error(`no client for ${name}`);
    return createClient(AvailabilityService, transport).getSlot({ slotId: ID });
  });
  await inFlight(NAMES.length);
  const startedAt = performance.now();
  const closed = served.close(5_000);
  expect((await Promise.all(calls)).map(({ slot }) => slot?.id)).toEqual(NAMES.map(() => ID));
  await closed;
  expect(performance.now() - startedAt).toBeLessThan(1_500);
});

test('calls that take longer than the grace are cut', async () => {
  const clients = await serve(3_000);
  const calls = NAMES.map((name) =>
    createClient(AvailabilityService, clients[name] as never)
      .getSlot({ slotId: ID })
      .then(
        () => 'done',
        (error: unknown) => ConnectError.from(error).code,
      ),
  );
  await inFlight(NAMES.length);
  const startedAt = performance.now();
  await served.close(200);
  expect(performance.now() - startedAt).toBeLessThan(1_000);
  expect(await Promise.all(calls)).not.toContain('done');
});

describe.each(['gRPC', 'gRPC-Web', 'Connect JSON', 'gRPC, TLS', 'Connect, TLS'])('%s', (name) => {
  test('a stream ends at once as UNAVAILABLE, DRAINING', async () => {
    const clients = await serve(0);
    const seen: Status[] = [];
    const watch = async () => {
      for await (const { status } of createClient(Health, clients[name] as never).watch({})) seen.push(status);
    };
    const watching = watch().catch(ConnectError.from);
    while (seen.length === 0) await wait(5);
    served.health.setServing(true);
    while (seen.length === 1) await wait(5);
    const startedAt = performance.now();
    await served.close(5_000);
    const error = await watching;
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(seen).toEqual([Status.NOT_SERVING, Status.SERVING]);
    expect(error).toMatchObject({ code: Code.Unavailable });
    expect((error as ConnectError).findDetails(ErrorInfoSchema)[0]?.reason).toBe('DRAINING');
  });
});

/** A connection on which a request has begun, and a way to send its rest. */
async function halfAsked() {
  const socket = net.connect(served.http, '127.0.0.1');
  const body = JSON.stringify({ slotId: ID });
  const head = `POST /amrutam.availability.v1.AvailabilityService/GetSlot HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  let answer = '';
  socket.on('data', (bytes) => {
    answer += bytes;
  });
  socket.write(head.slice(0, 40));
  await wait(50);
  return async () => {
    socket.write(head.slice(40) + body);
    await once(socket, 'close');
    return answer;
  };
}

test('a call that comes after the close is served at first, on its last connection, and refused as DRAINING later', async () => {
  const clients = await serve(1_500);
  const [soon, late] = [await halfAsked(), await halfAsked()];
  const held = createClient(AvailabilityService, clients['gRPC, grpc-js client'] as never).getSlot({ slotId: ID });
  await inFlight(1);
  const closed = served.close(5_000);
  const answered = soon();
  await wait(LINGER_MS + 200);
  const refused = await late();
  expect(refused).toMatch(/^HTTP\/1.1 503 .*connection: close.*"DRAINING"/is);
  expect(refused).toContain('google.rpc.RetryInfo');
  expect(await answered).toMatch(/^HTTP\/1.1 200 .*connection: close/is);
  await Promise.all([held, closed]);
});

test('a gRPC call that the listener has begun to take is served; one sent after the close is refused by the protocol', async () => {
  const clients = await serve(400);
  const connection = http2.connect(`http://127.0.0.1:${served.grpc}`);
  const path = '/amrutam.availability.v1.AvailabilityService/GetSlot';
  const request = connection.request({
    ':path': path,
    ':method': 'POST',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  const trailers = once(request.resume(), 'trailers');
  const other = createClient(AvailabilityService, clients['gRPC, grpc-js client'] as never);
  const held = other.getSlot({ slotId: ID });
  await inFlight(1);
  await wait(50);
  const closed = served.close(5_000);
  await wait(50);
  request.end(Buffer.concat([Buffer.from([0, 0, 0, 0, 38, 10, 36]), Buffer.from(ID)]));
  expect((await trailers)[0]).toMatchObject({ 'grpc-status': '0' });
  expect(await other.getSlot({ slotId: ID }).catch(ConnectError.from)).toMatchObject({ code: Code.Unavailable });
  await Promise.all([held, closed]);
});

test('HTTP/1 clients of a retired listener are served, and asked once to connect anew', async () => {
  await serve(0);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ask = async () => {
    const request = http.get({ port: served.http, path: '/livez', agent });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    await once(response.resume(), 'close');
    return [response.statusCode, response.headers.connection];
  };
  expect(await ask()).toEqual([200, 'keep-alive']);
  served.retire();
  expect(await ask()).toEqual([200, 'close']);
  expect(await ask()).toEqual([200, 'keep-alive']);
  expect(await ask()).toEqual([200, 'keep-alive']);
  agent.destroy();
});

test('keep-alive clients of every kind lose no call by a close: the last one on each connection is served', async () => {
  for (let round = 0; round < 10; round++) {
    const clients = await serve(2);
    const callers = ['gRPC, grpc-js client', 'gRPC-Web', 'Connect JSON', 'Connect binary'].map((name) => {
      const client = createClient(AvailabilityService, clients[name] as never);
      return untilGone(() => client.getSlot({ slotId: ID }));
    });
    await Promise.all(callers.map(({ answered }) => answered));
    await served.close(5_000);
    for (const { message } of await Promise.all(callers.map(({ end }) => end)))
      expect(message).toMatch(/ECONNREFUSED|No connection established/);
  }
});

/** Calls one after the other until one fails: the first three answers, and the failure. */
function untilGone(call: () => Promise<unknown>) {
  const third = Promise.withResolvers<void>();
  const run = async () => {
    for (let answers = 0; ; answers++) {
      if (answers === 3) third.resolve();
      const failure = await call().then(() => undefined, ConnectError.from);
      if (failure) return failure;
    }
  };
  const end = run();
  return { answered: Promise.race([third.promise, end]), end };
}

test('a hundred idle connections on each port do not hold the close up', async () => {
  await serve(0);
  const sockets = [served.grpc, served.http, served.https].flatMap((port) =>
    Array.from({ length: 100 }, () =>
      net
        .connect(port, '127.0.0.1')
        .on('error', () => {})
        .resume(),
    ),
  );
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  for (const socket of sockets.slice(100, 200)) socket.write('GET /livez HTTP/1.1\r\nhost: x\r\n\r\n');
  for (const socket of sockets.slice(0, 100)) socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0');
  await wait(200);
  const startedAt = performance.now();
  await served.close(5_000);
  expect(performance.now() - startedAt).toBeLessThan(1_500);
  for (const socket of sockets) socket.destroy();
});

test('TLS connections on which no request has come do not hold the close up', async () => {
  await serve(0);
  const ends = ['http/1.1', 'h2'].map(async (protocol) => {
    const socket = tls.connect({ port: served.https, rejectUnauthorized: false, ALPNProtocols: [protocol] });
    await once(socket.on('error', () => {}).resume(), 'secureConnect');
    return socket;
  });
  const sockets = await Promise.all(ends);
  await wait(50);
  const startedAt = performance.now();
  await served.close(5_000);
  expect(performance.now() - startedAt).toBeLessThan(1_500);
  for (const socket of sockets) socket.destroy();
});

test('a closed gRPC port can be opened again, and one in use is the socket error itself', async () => {
  await serve(0);
  const options = { routes: [], interceptors: [], log: { info() {}, error() {} } };
  await expect(grpcListener(options).listen('127.0.0.1', served.grpc)).rejects.toMatchObject({ code: 'EADDRINUSE' });
  const { grpc: port } = served;
  await served.close(0);
  const again = grpcListener(options);
  expect(await again.listen('127.0.0.1', port)).toBe(port);
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  await new Promise((resolve, reject) =>
    client.waitForReady(Date.now() + 2_000, (error) => (error ? reject(error) : resolve(null))),
  );
  client.close();
  await again.close(0);
});
