import { ConnectError, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { grpcJsTransport } from '../src/rpc/grpc-js-transport.fixture.ts';
import { type Clients, clientsOver, type Ports } from '../test/support/process-client.ts';

/** A way in which clients call, with connections of its own. */
export interface Way {
  readonly name: string;
  readonly clients: Clients;
  /** Its callers only read, without a pause between two calls. */
  readonly eager?: boolean;
}

/** Every protocol, as its own clients speak it: many calls on one connection, and one call at a time on each of several. */
export function waysTo({ grpcPort, httpPort }: Ports): readonly Way[] {
  const grpcUrl = `http://127.0.0.1:${grpcPort}`;
  const http1 = { baseUrl: `http://127.0.0.1:${httpPort}`, httpVersion: '1.1' as const };
  return [
    { name: 'gRPC, grpc-js', clients: clientsOver(grpcJsTransport(`127.0.0.1:${grpcPort}`)) },
    ...[1, 2].map((n) => ({
      name: `gRPC, connect ${n}`,
      clients: clientsOver(createGrpcTransport({ baseUrl: grpcUrl })),
    })),
    { name: 'gRPC, eager', clients: clientsOver(createGrpcTransport({ baseUrl: grpcUrl })), eager: true },
    { name: 'gRPC-Web', clients: clientsOver(createGrpcWebTransport(http1)) },
    { name: 'Connect JSON', clients: clientsOver(createConnectTransport({ ...http1, useBinaryFormat: false })) },
  ];
}

/** Clients that know all of `instances` and have no balancer: by gRPC's own ways to choose, and by HTTP/1. */
export function knowingWays(instances: readonly Ports[]): readonly Way[] {
  const addresses = `ipv4:${instances.map(({ grpcPort }) => `127.0.0.1:${grpcPort}`).join()}`;
  const grpcJs = (policy: string) => {
    const config = JSON.stringify({ loadBalancingConfig: [{ [policy]: {} }] });
    return clientsOver(grpcJsTransport(addresses, undefined, { 'grpc.service_config': config }));
  };
  const each = (protocol: (httpPort: number) => Transport) =>
    clientsOver(nextWhenRefused(instances.map(({ httpPort }) => protocol(httpPort))));
  const http1 = (port: number) => ({ baseUrl: `http://127.0.0.1:${port}`, httpVersion: '1.1' as const });
  return [
    { name: 'gRPC, round_robin', clients: grpcJs('round_robin') },
    { name: 'gRPC, pick_first', clients: grpcJs('pick_first') },
    { name: 'gRPC, eager', clients: grpcJs('round_robin'), eager: true },
    { name: 'gRPC-Web', clients: each((port) => createGrpcWebTransport(http1(port))) },
    {
      name: 'JSON, eager',
      clients: each((port) => createConnectTransport({ ...http1(port), useBinaryFormat: false })),
      eager: true,
    },
  ];
}

/** Stays with one of `transports` until a connection to it is refused, which is safe to ask anew, and takes the next. */
function nextWhenRefused(transports: readonly Transport[]): Transport {
  let now = 0;
  return {
    async unary(...call) {
      for (let tries = 0; ; tries++) {
        const mine = now;
        try {
          return await (transports[mine] as Transport).unary(...call);
        } catch (error) {
          const refused = ConnectError.from(error).rawMessage.includes('ECONNREFUSED');
          if (!refused || tries >= 2 * transports.length) throw error;
          if (now === mine) now = (mine + 1) % transports.length;
        }
      }
    },
    stream: () => Promise.reject(new Error('unary methods only')),
  };
}
