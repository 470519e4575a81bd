import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { ConnectError, type Transport } from '@connectrpc/connect';
import * as grpc from '@grpc/grpc-js';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';
import { asBuffer, headersOf, metadataOf } from './grpc-metadata.ts';

/** The client that internal callers use, behind Connect's interface for clients; unary methods only. */
export function grpcJsTransport(
  address: string,
  credentials = grpc.credentials.createInsecure(),
  options: grpc.ChannelOptions = {},
): Transport & { close(): void } {
  const client = new grpc.Client(address, credentials, options);
  return {
    unary: (method, signal, _timeoutMs, header, input) =>
      new Promise((resolve, reject) => {
        const headers = new Headers();
        const call = client.makeUnaryRequest(
          `/${method.parent.typeName}/${method.name}`,
          (bytes: Buffer) => bytes,
          (bytes: Buffer) => bytes,
          asBuffer(toBinary(method.input, create(method.input, input))),
          withTimeout(new Headers(header)),
          (error, bytes) => {
            if (error) return reject(errorOf(error));
            call.on('status', ({ metadata }) =>
              resolve({
                ...common(method),
                header: headers,
                trailer: headersOf(metadata),
                message: read(method.output, bytes),
              }),
            );
          },
        );
        call.on('metadata', (metadata) => {
          for (const [key, value] of headersOf(metadata)) headers.append(key, value);
        });
        signal?.addEventListener('abort', () => call.cancel());
      }),
    stream: () => Promise.reject(new Error('unary methods only')),
    close: () => client.close(),
  };

  function common<M extends { parent: unknown }>(method: M) {
    return { stream: false as const, method, service: method.parent as never };
  }
}

function read<D extends DescMessage>(desc: D, bytes: Buffer | undefined): MessageShape<D> {
  return fromBinary(desc, bytes ?? new Uint8Array());
}

/** A grpc-timeout header without a timer in the client: so it is the server's answer that arrives. */
function withTimeout(header: Headers): grpc.Metadata {
  const metadata = metadataOf(header);
  const timeout = header.get('grpc-timeout');
  if (timeout !== null) metadata.set('grpc-timeout', timeout);
  return metadata;
}

function errorOf({ code, details, metadata }: grpc.ServiceError): ConnectError {
  const [bytes] = metadata.get('grpc-status-details-bin');
  const error = new ConnectError(details, code as number, headersOf(metadata));
  if (bytes instanceof Buffer) {
    error.details = fromBinary(StatusSchema, bytes).details.map(({ typeUrl, value }) => ({
      type: typeUrl.slice(typeUrl.lastIndexOf('/') + 1),
      value,
    }));
  }
  return error;
}
