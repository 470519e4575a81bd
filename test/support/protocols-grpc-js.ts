import { create, type DescMethod, type DescMethodUnary, fromBinary, toBinary } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';
import { type CallOptions, merge, type Protocol, streams } from './protocols.ts';
import { answered, refused } from './protocols-answer.ts';

/** The generic client of @grpc/grpc-js, which has no generated code: paths and messages come from the descriptors. */
export function grpcJs(port: number): Protocol {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  return {
    name: 'gRPC, grpc-js',
    format: 'binary',
    carries: () => true,
    async call(method, message, options = {}) {
      const bytes = toBinary(method.input, create(method.input, message));
      const send = streams(method) ? streamed : unary;
      const { error, answer, header, trailer } = await send(client, method, { bytes, ...options });
      if (!error)
        return answered<typeof method.output>(merge(method, [answer]), {
          header,
          trailer,
        });
      const metadata = new Headers([...header, ...trailer]);
      return refused(error.code, error.details, { packed: detailsIn(error.metadata), metadata });
    },
    close: () => client.close(),
  };
}

/** A client for streams, and for what isn't a message; to be closed. */
export function grpcJsClient(port: number): grpc.Client {
  return new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
}

/** Path of a method in HTTP/2. */
export function pathOf({ parent, name }: DescMethod): string {
  return `/${parent.typeName}/${name}`;
}

/** Bytes as they are. */
export const asIs = (bytes: Buffer): Buffer => bytes;

interface Ended {
  readonly error: grpc.ServiceError | null;
  readonly answer: Buffer;
  readonly header: Headers;
  readonly trailer: Headers;
}

/** Sends `bytes`, whatever they are, as the message of a unary call. */
export function unary(
  client: grpc.Client,
  method: DescMethodUnary,
  { bytes, headers = {}, timeoutMs, signal }: CallOptions & { readonly bytes: Uint8Array },
): Promise<Ended> {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  // As a header, so that no timer of the client answers in the server's place.
  if (timeoutMs !== undefined) metadata.set('grpc-timeout', `${timeoutMs}m`);
  return new Promise((resolve) => {
    let ended: Pick<Ended, 'error' | 'answer'> = { error: null, answer: Buffer.alloc(0) };
    let header = new Headers();
    const call = client.makeUnaryRequest(pathOf(method), asIs, asIs, Buffer.from(bytes), metadata, (error, answer) => {
      ended = { error, answer: answer ?? Buffer.alloc(0) };
    });
    call.on('metadata', (received: grpc.Metadata) => {
      header = headersOf(received);
    });
    // grpc-js calls back after its status event.
    call.on('status', ({ metadata: received }: grpc.StatusObject) =>
      setImmediate(() => resolve({ ...ended, header, trailer: headersOf(received) })),
    );
    signal?.addEventListener('abort', () => call.cancel());
  });
}

/** The same of a method that streams its answer; the messages come one after the other. */
async function streamed(
  client: grpc.Client,
  method: DescMethodUnary,
  { bytes, headers = {}, timeoutMs, signal }: CallOptions & { readonly bytes: Uint8Array },
): Promise<Ended> {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  if (timeoutMs !== undefined) metadata.set('grpc-timeout', `${timeoutMs}m`);
  const call = client.makeServerStreamRequest(pathOf(method), asIs, asIs, Buffer.from(bytes), metadata);
  signal?.addEventListener('abort', () => call.cancel());
  const parts: Buffer[] = [];
  let [error, header]: [grpc.ServiceError | null, Headers] = [null, new Headers()];
  call.on('metadata', (received: grpc.Metadata) => {
    header = headersOf(received);
  });
  call.on('data', (part: Buffer) => parts.push(part));
  call.on('error', (thrown: grpc.ServiceError) => {
    error = thrown;
  });
  return new Promise((resolve) =>
    call.on('status', ({ metadata: received }: grpc.StatusObject) =>
      setImmediate(() => resolve({ error, answer: Buffer.concat(parts), header, trailer: headersOf(received) })),
    ),
  );
}

function headersOf(metadata: grpc.Metadata): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(metadata.toHttp2Headers())) {
    for (const one of [value].flat()) headers.append(name, String(one));
  }
  return headers;
}

function detailsIn(metadata: grpc.Metadata) {
  const [bytes] = metadata.get('grpc-status-details-bin');
  if (!(bytes instanceof Buffer)) return [];
  return fromBinary(StatusSchema, bytes).details.map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf('/') + 1),
    value,
  }));
}
