import {
  createRegistry,
  type DescMessage,
  fromBinary,
  type JsonValue,
  type MessageShape,
  toJson,
} from '@bufbuild/protobuf';
import type { ConnectError } from '@connectrpc/connect';
import { status } from '@grpc/grpc-js';
import { file_amrutam_booking_v1_booking } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { file_google_rpc_error_details } from '../../gen/google/rpc/error_details_pb.ts';

/** One detail of a refusal: full name of its message, and the message as JSON. */
export interface Detail {
  readonly type: string;
  readonly value: JsonValue;
}

/** What a call came to, in the same form whatever carried it. */
export interface Answer<D extends DescMessage = DescMessage> {
  /** Absent in refusals. */
  readonly message: MessageShape<D> | undefined;
  /** Name of the gRPC status, `OK` included. */
  readonly code: string;
  /** What the refusal says to people. */
  readonly text: string;
  /** ErrorInfo's. */
  readonly reason: string | undefined;
  readonly details: readonly Detail[];
  /** What comes before the message; of a refusal, everything that came along. */
  readonly header: Headers;
  readonly trailer: Headers;
}

/** A detail as it travels. */
export interface PackedDetail {
  readonly type: string;
  readonly value: Uint8Array;
}

const DETAILS = createRegistry(file_google_rpc_error_details, file_amrutam_booking_v1_booking);

/** The answer of a call that succeeded. */
export function answered<D extends DescMessage>(
  message: MessageShape<D>,
  { header, trailer }: { header: Headers; trailer: Headers },
): Answer<D> {
  return { message, code: 'OK', text: '', reason: undefined, details: [], header, trailer };
}

/** The answer of a call that was refused; `code` is the number that gRPC gives it. */
export function refused<D extends DescMessage>(
  code: number,
  text: string,
  { packed, metadata }: { packed: readonly PackedDetail[]; metadata: Headers },
): Answer<D> {
  const details = packed.map(unpacked);
  const info = details.find(({ type }) => type === 'google.rpc.ErrorInfo')?.value as { reason?: string } | undefined;
  return {
    message: undefined,
    code: status[code] ?? `${code}`,
    text,
    reason: info?.reason,
    details,
    header: metadata,
    trailer: new Headers(),
  };
}

/** The answer that Connect's own clients throw. */
export function refusedAs<D extends DescMessage>({ code, rawMessage, details, metadata }: ConnectError): Answer<D> {
  const packed = details.filter((detail): detail is typeof detail & PackedDetail => 'type' in detail);
  return refused(code, rawMessage, { packed, metadata });
}

function unpacked({ type, value }: PackedDetail): Detail {
  const desc = DETAILS.getMessage(type);
  if (!desc) throw new Error(`a detail that nobody has promised: ${type}`);
  return { type, value: toJson(desc, fromBinary(desc, value)) };
}
