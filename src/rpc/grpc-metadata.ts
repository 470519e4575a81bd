import { create, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import type { ConnectError } from '@connectrpc/connect';
import * as grpc from '@grpc/grpc-js';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';
import { CallHeaders } from './call-headers.ts';

/** Headers that belong to HTTP or the protocol, which handlers don't set. */
const PROTOCOL =
  /^(connection|keep-alive|proxy-connection|transfer-encoding|upgrade|te|host|content-length|content-type|grpc-.*)$/;
const LEGAL = /^[0-9a-z_.-]+$/;
const PRINTABLE = /^[ -~]*$/;

/** On metadata that this server made, as opposed to what grpc-js answers by itself. Not in a WeakSet: V8 looks through those again and again. */
const OURS = Symbol('ours');

/** As Connect has them: binary values in base64. */
export function headersOf(metadata: grpc.Metadata): Headers {
  const headers = new CallHeaders();
  for (const [key, value] of Object.entries(metadata.toHttp2Headers())) {
    if (LEGAL.test(key)) for (const one of [value].flat()) headers.append(key, String(one));
  }
  return headers;
}

/** What grpc-js sends for `headers`; values that gRPC can't carry are left out. */
export function metadataOf(...all: Headers[]): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const headers of all)
    headers.forEach((value, key) => {
      add(metadata, key, value);
    });
  return Object.assign(metadata, { [OURS]: true });
}

/** Whether `metadata` came from metadataOf. */
export function isOurs(metadata: grpc.Metadata | null | undefined): boolean {
  return metadata instanceof grpc.Metadata && OURS in metadata;
}

/** The status that ends a call with `error`; `trailers` travel with it. */
export function statusOf(error: ConnectError, ...trailers: Headers[]) {
  const { code, rawMessage: message } = error;
  const metadata = metadataOf(...trailers, error.metadata);
  if (error.details.length > 0) {
    const details = error.details.map((detail) =>
      'desc' in detail
        ? anyPack(detail.desc, create(detail.desc, detail.value))
        : { typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value },
    );
    const bytes = toBinary(StatusSchema, create(StatusSchema, { code, message, details }));
    metadata.set('grpc-status-details-bin', asBuffer(bytes));
  }
  return { code: code as number, details: message, metadata };
}

/** The same bytes, not a copy. */
export function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function add(metadata: grpc.Metadata, key: string, value: string): void {
  if (PROTOCOL.test(key) || !LEGAL.test(key)) return;
  if (key.endsWith('-bin')) for (const one of value.split(',')) metadata.add(key, Buffer.from(one, 'base64'));
  else if (PRINTABLE.test(value)) metadata.add(key, value);
}
