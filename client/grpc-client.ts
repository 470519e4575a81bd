import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { type ChannelCredentials, type ChannelOptions, Client, credentials } from '@grpc/grpc-js';
import { callServerStream, callUnary, type Line } from './call.ts';
import type { CallOptions } from './call-options.ts';

/** How a client connects, and what its calls have in common. */
export interface GrpcClientOptions extends Pick<CallOptions, 'deadlineMs' | 'retry'> {
  /** Absent: plain text to this machine (localhost, 127.0.0.0/8, ::1, unix sockets), TLS to any other. */
  readonly credentials?: ChannelCredentials;
  /** The access token, or where to get the one to use now: asked before each try. Absent: anonymous. */
  readonly token?: string | (() => string | undefined | Promise<string | undefined>);
  /** Of grpc-js, such as `grpc.keepalive_time_ms`. */
  readonly channelOptions?: ChannelOptions;
}

/** The methods of a service; those that stream requests are left out. */
export type GrpcClient<S extends DescService> = {
  readonly [M in keyof S['method'] as S['method'][M] extends Callable ? M : never]: Call<S['method'][M]>;
} & {
  /** Lets calls in flight end, and takes no more. */
  close(): void;
};

type Callable = { readonly methodKind: 'unary' | 'server_streaming' };

type Call<M extends DescMethod> = (
  request: MessageInitShape<M['input']>,
  options?: CallOptions,
) => M extends { readonly methodKind: 'unary' }
  ? Promise<MessageShape<M['output']>>
  : AsyncIterable<MessageShape<M['output']>>;

/**
 * A client of `service` at `address` (`host:port`), typed by the contract: `(request, options?) => Promise<response>`, or an
 * AsyncIterable for streams. Calls that fail throw RpcError. Clients of one address share connections: make one for each
 * service and keep it.
 */
export function createGrpcClient<S extends DescService>(
  service: S,
  address: string,
  options: GrpcClientOptions = {},
): GrpcClient<S> {
  const { token, deadlineMs, retry, channelOptions } = options;
  const client = new Client(address, options.credentials ?? credentialsFor(address), channelOptions);
  const line = { client, token: typeof token === 'function' ? token : () => token };
  const methods = service.methods.flatMap((method) => {
    const call = callOf(line, method);
    if (!call) return [];
    const defaults = method.methodKind === 'unary' ? { deadlineMs, retry } : {};
    return [[method.localName, (request: Init, own?: CallOptions) => call(request, { ...defaults, ...own })]];
  });
  return Object.assign(Object.fromEntries(methods), { close: () => client.close() });
}

type Init = MessageInitShape<DescMessage>;

function callOf(line: Line, method: DescMethod) {
  switch (method.methodKind) {
    case 'unary':
      return (request: Init, options: CallOptions) => callUnary(line, method, request, options);
    case 'server_streaming':
      return (request: Init, options: CallOptions) => callServerStream(line, method, request, options);
    default:
      return undefined;
  }
}

const THIS_MACHINE = /^(unix:|((dns|ipv4|ipv6):\/*)?(localhost|127(\.\d+){3}|\[?::1\]?)(:\d+)?$)/;

function credentialsFor(address: string): ChannelCredentials {
  return THIS_MACHINE.test(address) ? credentials.createInsecure() : credentials.createSsl();
}
