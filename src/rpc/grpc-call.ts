import type { EventEmitter } from 'node:events';
import type { DescMethod } from '@bufbuild/protobuf';
import { Code, ConnectError, createContextKey, createContextValues, type HandlerContext } from '@connectrpc/connect';
import type * as grpc from '@grpc/grpc-js';
import { kPeerAddress } from './call.ts';
import { CallHeaders } from './call-headers.ts';
import type { ClientAddress } from './client-address.ts';
import { timeAllowed } from './deadline.ts';
import type { Ending } from './ending.ts';
import { cancelled, outOfTime, tooLarge } from './framework-error.ts';
import { deadlineOf } from './grpc-intake.ts';
import { headersOf } from './grpc-metadata.ts';
import { headerSize } from './header-size.ts';
import type { Limits } from './limits.ts';
import type { CallLog } from './log.ts';
import { kRefusal } from './translate.ts';

/** What the calls of one listener share. */
export interface GrpcScope {
  readonly limits: Limits;
  readonly addressOf: ClientAddress;
  readonly end: Ending;
  readonly log: CallLog;
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
export function grpcContext(call: Incoming, method: DescMethod, scope: GrpcScope): GrpcContext {
  const requestHeader = headersOf(call.metadata);
  const values = createContextValues();
  const context: GrpcContext = {
    service: method.parent,
    method,
    protocolName: 'grpc',
    requestMethod: 'POST',
    url: `http://${call.getHost()}/${method.parent.typeName}/${method.name}`,
    requestHeader,
    responseHeader: new CallHeaders(),
    responseTrailer: new CallHeaders(),
    values,
    ...lifeOf(timeAllowed(askedMs(call), method, scope.limits), method, scope.end.closing),
  };
  values.set(kContext, context);
  values.set(kPeerAddress, scope.addressOf(call.getPeer(), requestHeader.get('x-forwarded-for')));
  if (headerSize(requestHeader) > scope.limits.headerBytes) values.set(kRefusal, tooLarge());
  const refusing = method.methodKind === 'unary' ? scope.end.late : scope.end.closing;
  if (refusing.aborted) values.set(kRefusal, refusing.reason);
  return context;
}

/** A signal that aborts after `ms`, and for a stream when its listener begins to close; and the way to abort it before. */
function lifeOf(ms: number | undefined, method: DescMethod, draining: AbortSignal) {
  const controller = new AbortController();
  const endsAt = Date.now() + (ms ?? 0);
  const timer = ms === undefined ? undefined : setTimeout(() => controller.abort(outOfTime()), Math.max(ms, 0));
  // A timer of 0 ms would let a handler begin.
  if (ms !== undefined && ms <= 0) controller.abort(outOfTime());
  const drain = () => controller.abort(draining.reason);
  if (method.methodKind !== 'unary') draining.addEventListener('abort', drain);
  const end = (reason: unknown) => {
    clearTimeout(timer);
    draining.removeEventListener('abort', drain);
    // Nobody listens any more to the end of one that was answered.
    if (reason !== ENDED || method.methodKind !== 'unary') controller.abort(reason);
  };
  return { signal: controller.signal, timeoutMs: () => (ms === undefined ? undefined : endsAt - Date.now()), end };
}

/** Aborts `context` when the caller goes away. grpc-js says `cancelled` after every call, also one that ended well. */
export function endOnCancel(call: EventEmitter, context: GrpcContext): void {
  call.on('cancelled', () => {
    if (!context.signal.aborted) context.end(cancelled());
  });
}

function askedMs(call: Incoming): number | undefined {
  const deadline = deadlineOf(call);
  return deadline === Number.POSITIVE_INFINITY ? undefined : deadline - Date.now();
}
