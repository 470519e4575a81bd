import {
  create,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
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
  /** Of a method that streams, the parts of its answer come as one message, merged. */
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

/** Whether its answer is a stream, whatever the type says. */
export function streams({ methodKind }: DescMethod): boolean {
  return methodKind !== 'unary';
}

/** Parts of an answer as one message: what protobuf makes of them one after the other. */
export function merge<M extends DescMethodUnary>(
  { output }: M,
  parts: readonly Uint8Array[],
): MessageShape<M['output']> {
  return fromBinary(output, Buffer.concat(parts)) as MessageShape<M['output']>;
}

async function merged(
  transport: Transport,
  method: DescMethodUnary,
  { sent, headers, signal }: { sent: Message; headers: Record<string, string>; signal: AbortSignal | undefined },
) {
  const one = async function* () {
    yield sent;
  };
  const streaming = method as unknown as DescMethodServerStreaming;
  const { message, header, trailer } = await transport.stream(streaming, signal, undefined, headers, one());
  const parts: Uint8Array[] = [];
  for await (const part of message) parts.push(toBinary(method.output, part));
  return { message: merge(method, parts), header, trailer };
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
      const timeout: Record<string, string> =
        timeoutMs === undefined ? {} : { 'grpc-timeout': `${timeoutMs}m`, 'connect-timeout-ms': `${timeoutMs}` };
      try {
        const sent = create(method.input, message);
        const asked: Record<string, string> = { ...headers, ...timeout };
        const response = streams(method)
          ? await merged(transport, method, { sent, headers: asked, signal })
          : await transport.unary(method, signal, undefined, asked, sent);
        return answered<typeof method.output>(response.message as MessageShape<typeof method.output>, response);
      } catch (error) {
        if (!(error instanceof ConnectError)) throw error;
        return refusedAs(error);
      }
    },
  };
}
