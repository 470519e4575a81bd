import type { EventEmitter } from 'node:events';
import type { DescMethod } from '@bufbuild/protobuf';
import { Code, ConnectError, createContextKey, createContextValues, type HandlerContext } from '@connectrpc/connect';
import type * as grpc from '@grpc/grpc-js';
import { kPeerAddress } from './call.ts';
import type { ClientAddress } from './client-address.ts';
import { timeAllowed } from './deadline.ts';
import { cancelled, outOfTime } from './framework-error.ts';
import { headersOf } from './grpc-metadata.ts';
import type { Limits } from './limits.ts';
import { kRefusal } from './translate.ts';

/** What the calls of one listener share. */
export interface GrpcScope {
  readonly limits: Limits;
  readonly addressOf: ClientAddress;
  /** Aborts, with a Fault, when the listener begins to close. */
  readonly draining: AbortSignal;
}

/** The context of a call on grpc-js. */
export interface GrpcContext extends HandlerContext {
  /** Aborts the signal for `reason`, unless it has aborted, and frees what the context holds. */
  readonly end: (reason: unknown) => void;
}

/** The reason after every call. Made once: an error with a stack costs 3 microseconds. */
export const ENDED = new ConnectError('the call has ended', Code.Canceled);

/** Where the innermost function of a chain finds the context of its call. */
export const kContext = createContextKey<GrpcContext | undefined>(undefined, { description: 'context' });

/** A call of any kind, as grpc-js hands it to a handler. */
export type GrpcCall =
  | grpc.ServerUnaryCall<Buffer, Buffer>
  | grpc.ServerReadableStream<Buffer, Buffer>
  | grpc.ServerWritableStream<Buffer, Buffer>
  | grpc.ServerDuplexStream<Buffer, Buffer>;

type Incoming = Pick<GrpcCall, 'metadata' | 'getPeer' | 'getDeadline' | 'getHost'>;

/** The context of `call`, with its deadline running, as Connect's handlers know it. */
export function grpcContext(
  call: Incoming,
  method: DescMethod,
  { limits, addressOf, draining }: GrpcScope,
): GrpcContext {
  const requestHeader = headersOf(call.metadata);
  const values = createContextValues();
  const timeoutMs = timeAllowed(askedMs(call), method, limits);
  const endsAt = Date.now() + (timeoutMs ?? 0);
  const controller = new AbortController();
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => controller.abort(outOfTime()), timeoutMs);
  // A timer of 0 ms would let a handler begin.
  if (timeoutMs !== undefined && timeoutMs <= 0) controller.abort(outOfTime());
  const drain = () => controller.abort(draining.reason);
  if (draining.aborted) values.set(kRefusal, draining.reason);
  else if (method.methodKind !== 'unary') draining.addEventListener('abort', drain);
  const context: GrpcContext = {
    service: method.parent,
    method,
    protocolName: 'grpc',
    requestMethod: 'POST',
    url: `http://${call.getHost()}/${method.parent.typeName}/${method.name}`,
    signal: controller.signal,
    timeoutMs: () => (timeoutMs === undefined ? undefined : endsAt - Date.now()),
    requestHeader,
    responseHeader: new Headers(),
    responseTrailer: new Headers(),
    values,
    end: (reason) => {
      clearTimeout(timer);
      draining.removeEventListener('abort', drain);
      controller.abort(reason);
    },
  };
  values.set(kContext, context);
  values.set(kPeerAddress, addressOf(call.getPeer(), requestHeader.get('x-forwarded-for')));
  return context;
}

/** Aborts `context` when the caller goes away. grpc-js says `cancelled` after every call, also one that ended well. */
export function endOnCancel(call: EventEmitter, context: GrpcContext): void {
  call.on('cancelled', () => {
    if (!context.signal.aborted) context.end(cancelled());
  });
}

function askedMs(call: Incoming): number | undefined {
  const deadline = Number(call.getDeadline());
  return deadline === Number.POSITIVE_INFINITY ? undefined : deadline - Date.now();
}
