import {
  create,
  type DescMethod,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { ConnectError, type Transport } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from '@connectrpc/connect-node';
import { type Answer, answered, refusedAs } from './protocols-answer.ts';
import { plainJson } from './protocols-fetch.ts';
import { grpcJs } from './protocols-grpc-js.ts';
import type { TestServer } from './server.ts';

/** What travels beside the message. `timeoutMs` is what the server is told; the client itself waits for the answer. */
export interface CallOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** A real client of one protocol. */
export interface Protocol {
  readonly name: string;
  readonly format: 'binary' | 'json';
  /** Whether the protocol can call the method at all. */
  carries(method: DescMethod): boolean;
  call<M extends DescMethodUnary>(
    method: M,
    message: MessageInitShape<M['input']>,
    options?: CallOptions,
  ): Promise<Answer<M['output']>>;
  close(): void;
}

/** Every protocol that the server speaks, each with a client and connections of its own. To be closed, each. */
export function protocolsOf({ grpcPort, httpPort }: Pick<TestServer, 'grpcPort' | 'httpPort'>): Protocol[] {
  const http = { baseUrl: `http://127.0.0.1:${httpPort}`, httpVersion: '1.1' as const };
  const grpcUrl = `http://127.0.0.1:${grpcPort}`;
  const sessionManager = new Http2SessionManager(grpcUrl);
  return [
    grpcJs(grpcPort),
    connected('gRPC, connect-node', createGrpcTransport({ baseUrl: grpcUrl, sessionManager }), {
      close: () => sessionManager.abort(),
    }),
    connected('gRPC-Web', createGrpcWebTransport(http)),
    connected('Connect, binary', createConnectTransport({ ...http, useBinaryFormat: true })),
    connected('Connect, JSON', createConnectTransport({ ...http, useBinaryFormat: false }), { format: 'json' }),
    plainJson(httpPort, 'POST'),
    plainJson(httpPort, 'GET'),
  ];
}

/** Whether the contract lets browsers GET and cache the method's answer. */
export function isSideEffectFree({ idempotency }: DescMethod): boolean {
  return idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}

function connected(
  name: string,
  transport: Transport,
  { format = 'binary', close = () => {} }: Partial<Pick<Protocol, 'format' | 'close'>> = {},
): Protocol {
  return {
    name,
    format,
    close,
    carries: () => true,
    async call(method, message, { headers, timeoutMs, signal } = {}) {
      const timeout =
        timeoutMs === undefined ? {} : { 'grpc-timeout': `${timeoutMs}m`, 'connect-timeout-ms': `${timeoutMs}` };
      try {
        const sent = create(method.input, message);
        const response = await transport.unary(method, signal, undefined, { ...headers, ...timeout }, sent);
        return answered<typeof method.output>(response.message as MessageShape<typeof method.output>, response);
      } catch (error) {
        if (!(error instanceof ConnectError)) throw error;
        return refusedAs(error);
      }
    },
  };
}
