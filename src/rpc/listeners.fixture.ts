import type { DescService } from '@bufbuild/protobuf';
import type { ServiceImpl, Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { AuthService } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingService } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { Fault } from '../fault.ts';
import { authenticate } from './authenticate.ts';
import { authorize } from './authorize.ts';
import type { Caller } from './call.ts';
import { endPromptly } from './deadline.ts';
import { grpcJsTransport } from './grpc-js-transport.fixture.ts';
import { grpcListener } from './grpc-listener.ts';
import { type HealthRoute, health } from './health.ts';
import { type HttpListenerOptions, httpListener } from './http-listener.ts';
import { Kinds } from './kinds.fixture.ts';
import { type Listener, type Route, route } from './listener.ts';
import { observe } from './observe.ts';
import { reflection } from './reflection.ts';
import { CERTIFICATE } from './tls.fixture.ts';
import { translateErrors } from './translate.ts';
import { validate } from './validate.ts';

/** One line of the log, with its level. */
export type Line = Record<string, unknown> & { level: string; msg: string };

/** Handlers under test; the rest of each service is UNIMPLEMENTED. */
export interface Handlers {
  readonly availability?: Partial<ServiceImpl<typeof AvailabilityService>>;
  readonly auth?: Partial<ServiceImpl<typeof AuthService>>;
  readonly booking?: Partial<ServiceImpl<typeof BookingService>>;
  readonly kinds?: Route['impl'];
}

/** Three listeners with the real chain: gRPC, HTTP, and HTTP with TLS. */
export interface Listeners {
  readonly grpc: number;
  readonly http: number;
  readonly https: number;
  readonly log: Line[];
  readonly health: HealthRoute;
  retire(): void;
  close(graceMs?: number): Promise<void>;
}

const CALLERS: Record<string, Caller> = {
  patient: { userId: '0192f0c4-7e5a-7b3c-8d2e-000000000001', sessionId: 's', role: 'PATIENT' },
  doctor: { userId: '0192f0c4-7e5a-7b3c-8d2e-000000000002', sessionId: 's', role: 'DOCTOR' },
};

/** Serves `handlers` on ports of their own. Tokens are the words patient and doctor. */
export async function listeners(handlers: Handlers, options: Partial<HttpListenerOptions> = {}): Promise<Listeners> {
  const log: Line[] = [];
  const write = (level: string) => (fields: object, msg: string) => void log.push({ ...fields, level, msg });
  const logger = { info: write('info'), error: write('error') };
  const ours: DescService[] = [AvailabilityService, AuthService, BookingService, Kinds];
  const healthRoute = health(ours);
  const routes = [
    route(AvailabilityService, handlers.availability ?? {}),
    route(AuthService, handlers.auth ?? {}),
    route(BookingService, handlers.booking ?? {}),
    { service: Kinds, impl: handlers.kinds ?? {} },
    healthRoute.route,
    ...reflection([...ours, healthRoute.route.service]),
  ];
  const publicServices = [Kinds.typeName, ...routes.slice(-3).map(({ service }) => service.typeName)];
  const common: HttpListenerOptions = {
    routes,
    interceptors: [
      observe(logger),
      translateErrors(logger),
      endPromptly(),
      authenticate(verify),
      authorize({ publicServices, log: logger }),
      validate(),
    ],
    log: logger,
    jwks: async () => ({ keys: [] }),
    ready: async () => ({ ready: true, reasons: [] }),
    corsOrigins: [],
    ...options,
  };
  const all: Listener[] = [grpcListener(common), httpListener(common), httpListener({ ...common, tls: CERTIFICATE })];
  const [grpc = 0, http = 0, https = 0] = await Promise.all(all.map((listener) => listener.listen('127.0.0.1', 0)));
  const close = async (graceMs = 0) => void (await Promise.all(all.map((listener) => listener.close(graceMs))));
  const retire = () => {
    for (const listener of all) listener.retire();
  };
  return { grpc, http, https, log, health: healthRoute, retire, close };
}

async function verify(token: string): Promise<Caller> {
  const caller = CALLERS[token];
  if (token === 'old') throw new Fault('TOKEN_EXPIRED', 'the access token has expired');
  if (!caller) throw new Fault('TOKEN_INVALID', 'the access token is not valid');
  return caller;
}

/** Clients of every protocol on every listener, over connections of their own. */
export function transports({ grpc, http, https }: Listeners): Record<string, Transport> {
  const plain = { baseUrl: `http://127.0.0.1:${http}`, httpVersion: '1.1' as const };
  const nodeOptions = { rejectUnauthorized: false };
  const tls = { baseUrl: `https://127.0.0.1:${https}`, nodeOptions };
  return {
    'gRPC, grpc-js client': grpcJsTransport(`127.0.0.1:${grpc}`),
    gRPC: createGrpcTransport({ baseUrl: `http://127.0.0.1:${grpc}` }),
    'gRPC-Web': createGrpcWebTransport(plain),
    'Connect JSON': createConnectTransport({ ...plain, useBinaryFormat: false }),
    'Connect binary': createConnectTransport({ ...plain, useBinaryFormat: true }),
    'Connect GET': createConnectTransport({ ...plain, useBinaryFormat: false, useHttpGet: true }),
    'gRPC, TLS': createGrpcTransport(tls),
    'gRPC-Web, TLS': createGrpcWebTransport({ ...tls, httpVersion: '2' }),
    'Connect, TLS': createConnectTransport({ ...tls, httpVersion: '2' }),
    'Connect, TLS, HTTP/1': createConnectTransport({ ...tls, httpVersion: '1.1' }),
  };
}
