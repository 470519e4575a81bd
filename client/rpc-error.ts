import { type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf';
import { type Any, anyUnpack } from '@bufbuild/protobuf/wkt';
import { type Metadata, type StatusObject, status } from '@grpc/grpc-js';
import type { Reason } from '../gen/amrutam/error/v1/reason_pb.ts';
import { ErrorInfoSchema, RetryInfoSchema } from '../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../gen/google/rpc/status_pb.ts';

/** Name of an amrutam.error.v1.Reason without its prefix, such as `SLOT_TAKEN`. */
export type ReasonName = Exclude<keyof typeof Reason, 'UNSPECIFIED'>;

/** A call that was not answered with a response. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  /** The gRPC status code. */
  readonly code: status;
  /**
   * Why the service refused. Absent when it had no say, as when it can't be reached or time ran out here, and in
   * INTERNAL. A newer server may know reasons that this type doesn't.
   */
  readonly reason: ReasonName | (string & {}) | undefined;
  /** Facts that come with the reason, such as `state` with BOOKING_STATE. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Milliseconds after which another try makes sense, if the server said so. */
  readonly retryAfterMs: number | undefined;
  /** Trailers of the response; a refusal given before has `idempotency-replayed` here. */
  readonly trailer: Metadata;
  readonly #details: readonly Any[];

  constructor({ code, details: message, metadata: trailer }: StatusObject, options?: ErrorOptions) {
    const details = detailsIn(trailer);
    const info = unpack(details, ErrorInfoSchema).find(({ domain }) => domain === 'amrutam');
    super(`${status[code]}${info ? ` ${info.reason}` : ''}: ${message}`, options);
    this.code = code;
    this.reason = info?.reason;
    this.metadata = info?.metadata ?? {};
    this.retryAfterMs = retryAfter(details);
    this.trailer = trailer;
    this.#details = details;
  }

  /** The details of this type, such as SlotAlternatives with SLOT_TAKEN, and google.rpc.BadRequest with FIELD_INVALID. */
  details<D extends DescMessage>(schema: D): MessageShape<D>[] {
    return unpack(this.#details, schema);
  }
}

/** None when a proxy on the way has made them unreadable: the code still counts. */
function detailsIn(trailer: Metadata): readonly Any[] {
  const [bytes] = trailer.get('grpc-status-details-bin');
  try {
    return bytes instanceof Buffer ? fromBinary(StatusSchema, bytes).details : [];
  } catch {
    return [];
  }
}

function unpack<D extends DescMessage>(details: readonly Any[], schema: D): MessageShape<D>[] {
  return details.flatMap((detail) => anyUnpack(detail, schema) ?? []);
}

function retryAfter(details: readonly Any[]): number | undefined {
  const delay = unpack(details, RetryInfoSchema)[0]?.retryDelay;
  return delay && Number(delay.seconds) * 1_000 + delay.nanos / 1_000_000;
}
