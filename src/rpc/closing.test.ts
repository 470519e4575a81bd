import { once } from 'node:events';
import net from 'node:net';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from '@jest/globals';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Status } from '../../gen/health/v1/health_pb.ts';
import { grpcListener } from './grpc-listener.ts';
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

test('a new call over an open connection is refused: with DRAINING over HTTP/1, by the protocol over HTTP/2', async () => {
  const clients = await serve(400);
  const held = [
    createClient(AvailabilityService, clients['gRPC, grpc-js client'] as never).getSlot({ slotId: ID }),
    createClient(AvailabilityService, clients['Connect, TLS'] as never).getSlot({ slotId: ID }),
  ];
  const socket = net.connect(served.http, '127.0.0.1');
  const request = (body: string) =>
    `POST /amrutam.availability.v1.AvailabilityService/GetSlot HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
  const body = JSON.stringify({ slotId: ID });
  let answers = '';
  socket.on('data', (bytes) => {
    answers += bytes;
  });
  const [head, tail] = [request(body).slice(0, 40), request(body).slice(40)];
  // A connection on which a request has begun is not an idle one.
  socket.write(head);
  await inFlight(held.length);
  await wait(50);
  const closed = served.close(5_000);
  const late = await createClient(AvailabilityService, clients['gRPC, grpc-js client'] as never)
    .getSlot({ slotId: ID })
    .catch(ConnectError.from);
  expect(late).toMatchObject({ code: Code.Unavailable });
  socket.write(tail);
  await once(socket, 'close');
  expect(answers).toMatch(/^HTTP\/1.1 503 .*connection: close.*"DRAINING"/is);
  await Promise.all([...held, closed]);
});

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
