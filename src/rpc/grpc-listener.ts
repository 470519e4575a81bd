import net, { type Socket } from 'node:net';
import { createServiceImplSpec, type MethodImplSpec } from '@connectrpc/connect';
import * as grpc from '@grpc/grpc-js';
import { Fault } from '../fault.ts';
import { clientAddress } from './client-address.ts';
import { type RefuseCall, watchIntake } from './grpc-intake.ts';
import { grpcMethod } from './grpc-method.ts';
import { LIMITS, type Limits } from './limits.ts';
import { bind, closerOf, type Listener, type ListenerOptions, type TlsPair } from './listener.ts';
import { guardPort, streamGuard } from './stream-guard.ts';

/**
 * Native gRPC on grpc-js: Connect's handlers and interceptors with three times the throughput of connect-node. The port
 * is opened by node:net, because grpc-js hides the error of a port in use, and keeps connections after a shutdown.
 */
export function grpcListener(options: ListenerOptions): Listener {
  const limits = { ...LIMITS, ...options.limits };
  const draining = new AbortController();
  const { server, connect } = serverOf(options, limits, draining.signal);
  const ear = net.createServer(connect);
  const close = closerOf(ear);
  let port = 0;
  let unguard = () => {};
  return {
    listen: async (host, wanted) => {
      port = await bind(ear, host, wanted, options.log);
      unguard = guardPort(() => port, streamGuard(options.routes, limits));
      return port;
    },
    close: async (graceMs) => {
      draining.abort(new Fault('DRAINING', 'this instance is stopping'));
      server.tryShutdown(() => {});
      await close(graceMs);
      unguard();
    },
  };
}

function serverOf(options: ListenerOptions, limits: Limits, draining: AbortSignal) {
  // grpc-js writes header values that it can't read to standard error: a token might be among them.
  grpc.setLogVerbosity(grpc.logVerbosity.NONE);
  const refusals = new Map<string, RefuseCall>();
  const interceptors = [watchIntake(refusals)];
  const server = new grpc.Server({ ...channelOptions(limits), interceptors });
  const scope = { limits, addressOf: clientAddress(options.trustedProxies ?? []), draining, log: options.log };
  for (const { service, impl } of options.routes) {
    const specs = Object.values(createServiceImplSpec(service, impl).methods);
    const methods = specs.map((spec) => ({ spec, ...grpcMethod(spec, options.interceptors, scope) }));
    for (const { spec, refuse } of methods) refusals.set(pathOf(spec), refuse);
    server.addService(
      Object.fromEntries(methods.map(({ spec }) => [spec.method.name, definitionOf(spec)])),
      Object.fromEntries(methods.map(({ spec, handler }) => [spec.method.name, handler])),
    );
  }
  const injector = server.createConnectionInjector(credentialsOf(options.tls));
  return { server, connect: (socket: Socket) => injector.injectConnection(socket) };
}

function channelOptions(limits: Limits): grpc.ServerOptions {
  return {
    'grpc.max_receive_message_length': limits.receiveBytes,
    // Ours is checked where it can be logged, before grpc-js sees the answer.
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': limits.streams,
    'grpc.max_connection_idle_ms': limits.idleMs,
    'grpc.max_connection_age_ms': limits.ageMs,
    'grpc.max_connection_age_grace_ms': limits.longestDeadlineMs,
    'grpc.keepalive_time_ms': 60_000,
    'grpc.keepalive_timeout_ms': 20_000,
    'grpc.enable_channelz': 0,
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
