import type { ServerHttp2Session } from 'node:http2';
import net, { type Socket } from 'node:net';
import { createServiceImplSpec, type MethodImplSpec } from '@connectrpc/connect';
import * as grpc from '@grpc/grpc-js';
import { clientAddress } from './client-address.ts';
import { connectionAge } from './connection-age.ts';
import { type DoorOptions, limitConnections } from './connection-limit.ts';
import { type Ending, ending } from './ending.ts';
import { type RefuseCall, takeNoCompression, watchIntake } from './grpc-intake.ts';
import { grpcMethod } from './grpc-method.ts';
import { http2Options, sessionMegabytes } from './http2-options.ts';
import { limitWatches } from './limit-watches.ts';
import { LIMITS, type Limits } from './limits.ts';
import { bind, closerOf, doorOf, type Listener, type ListenerOptions, type TlsPair } from './listener.ts';
import { places } from './places.ts';
import { resetBudget } from './reset-budget.ts';
import { guardPort, type StreamGuard, streamGuard } from './stream-guard.ts';
import { unreadBudget } from './unread-budget.ts';

/**
 * Native gRPC on grpc-js: Connect's handlers and interceptors with three times the throughput of connect-node. The port
 * is opened by node:net, because grpc-js hides the error of a port in use, and keeps connections after a shutdown.
 */
export function grpcListener(options: ListenerOptions): Listener {
  const limits = { ...LIMITS, ...options.limits };
  const end = ending();
  const door = doorOf(options, limits);
  const { server, connect } = serverOf(options, door, end);
  const ear = net.createServer((socket) => void (socket.destroyed || connect(socket)));
  limitConnections(ear, door);
  const close = closerOf(ear);
  let port = 0;
  let unguard = () => {};
  return {
    listen: async (host, wanted) => {
      port = await bind(ear, host, wanted, options.log);
      unguard = guardPort(() => port, guardOf(options, door));
      return port;
    },
    retire: end.retire,
    close: async (graceMs) => {
      end.close();
      server.tryShutdown(() => {});
      // A TLS handshake may end only now, and grpc-js would not ask that connection to go.
      const unask = guardPort(
        () => port,
        ({ session }) => session?.close(),
      );
      await close(graceMs, end.refuse);
      unask();
      unguard();
    },
  };
}

function serverOf(options: ListenerOptions, { limits, isProxy }: DoorOptions, end: Ending) {
  // grpc-js writes header values that it can't read to standard error: a token might be among them.
  grpc.setLogVerbosity(grpc.logVerbosity.NONE);
  const refusals = new Map<string, RefuseCall>();
  const interceptors = [watchIntake(refusals, limits)];
  const server = new grpc.Server({ ...channelOptions(limits), interceptors });
  // grpc-js passes most of these on by no other way; grpc-listener.test.ts sees to it that they arrive.
  Object.assign(Reflect.get(server, 'commonServerOptions') as object, http2Options(limits));
  const chain = [...options.interceptors, limitWatches(limits, isProxy)];
  const scope = { limits, addressOf: clientAddress(options.trustedProxies ?? []), end, log: options.log };
  for (const { service, impl } of options.routes) {
    const specs = Object.values(createServiceImplSpec(service, impl).methods);
    const methods = specs.map((spec) => ({ spec, ...grpcMethod(spec, chain, scope) }));
    for (const { spec, refuse } of methods) refusals.set(pathOf(spec), refuse);
    server.addService(
      Object.fromEntries(methods.map(({ spec }) => [spec.method.name, definitionOf(spec)])),
      Object.fromEntries(methods.map(({ spec, handler }) => [spec.method.name, handler])),
    );
  }
  const injector = server.createConnectionInjector(credentialsOf(options.tls));
  return { server, connect: (socket: Socket) => injector.injectConnection(socket) };
}

function guardOf({ routes }: ListenerOptions, door: DoorOptions): StreamGuard {
  const known = new Set(routes.flatMap(({ service }) => service.methods.map((m) => `/${m.parent.typeName}/${m.name}`)));
  const guard = streamGuard(routes, {
    ...door,
    takeStream: places({ all: Number.POSITIVE_INFINITY, each: door.limits.streamsEach }),
    resets: resetBudget(door),
    watchOutlet: unreadBudget(door.limits.unreadBytes, door.turnAway),
  });
  const age = connectionAge(door);
  return (stream, headers) => {
    guard(stream, headers);
    const session = stream.session as ServerHttp2Session | undefined;
    if (session && !session.destroyed) age(session);
    if (!headers['content-type']?.startsWith('application/grpc')) door.turnAway('another content type');
    else if (!known.has(`${headers[':path']}`)) door.turnAway('no such method');
    takeNoCompression(headers);
  };
}

function channelOptions(limits: Limits): grpc.ServerOptions {
  return {
    'grpc.max_receive_message_length': limits.receiveBytes,
    // Ours is checked where it can be logged, before grpc-js sees the answer.
    'grpc.max_send_message_length': -1,
    'grpc.max_connection_idle_ms': limits.idleMs,
    'grpc.keepalive_time_ms': 60_000,
    'grpc.keepalive_timeout_ms': 20_000,
    'grpc.enable_channelz': 0,
    'grpc.max_concurrent_streams': limits.streams,
    'grpc-node.max_session_memory': sessionMegabytes(limits),
  };
}

function definitionOf(spec: MethodImplSpec): grpc.MethodDefinition<Buffer, Buffer> {
  const asIs = (bytes: Buffer) => bytes;
  return {
    path: pathOf(spec),
    requestStream: /^(client|bidi)/.test(spec.kind),
    responseStream: /^(server|bidi)/.test(spec.kind),
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
}

function pathOf({ method }: MethodImplSpec): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function credentialsOf(tls: TlsPair | undefined): grpc.ServerCredentials {
  if (!tls) return grpc.ServerCredentials.createInsecure();
  return grpc.ServerCredentials.createSsl(null, [
    { cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) },
  ]);
}
