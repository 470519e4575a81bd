import type { IncomingHttpHeaders } from 'node:http2';
import { Code, ConnectError } from '@connectrpc/connect';
import * as grpc from '@grpc/grpc-js';
import type { Fault } from '../fault.ts';
import { cancelled, malformed, outOfTime, tooLarge } from './framework-error.ts';
import { isOurs } from './grpc-metadata.ts';
import type { Limits } from './limits.ts';

/** A call between its headers and its end, as far as grpc-js may want to end it by itself. */
export interface Intake {
  /** Whether grpc-js has refused it; no handler needs to start. */
  refused: boolean;
  /** Set once a handler runs: ends it with that reason, and so the call. */
  stop?: (reason: Fault | ConnectError) => void;
}

/** What is known of a call from its headers. */
export interface IncomingCall {
  readonly metadata: grpc.Metadata;
  readonly peer: string;
}

/** The status of a call of one method that no handler has seen. */
export type RefuseCall = (call: IncomingCall, refusal: Fault | ConnectError) => Promise<GrpcStatus>;

type GrpcStatus = Parameters<grpc.ServerInterceptingCallInterface['sendStatus']>[0];

/** Longer ago than any delay between a time-out and its timer. */
const LONG_PAST_MS = 60_000;

const BROKEN: GrpcStatus = { code: grpc.status.INTERNAL, details: 'internal error' };

/** On the metadata of a call: its intake. */
const INTAKE = Symbol('intake');

/** The intake of the call that came with `metadata`. */
export function intakeOf(metadata: grpc.Metadata): Intake {
  return (metadata as { [INTAKE]?: Intake })[INTAKE] ?? { refused: false };
}

/**
 * grpc-js would unpack gzip, any number of messages at once, each into a decompressor of its own. Nothing that is asked here
 * is worth packing (64 KiB at most), so `headers` then name an encoding that it doesn't know: UNIMPLEMENTED.
 */
export function takeNoCompression(headers: IncomingHttpHeaders): void {
  const encoding = headers['grpc-encoding'];
  if (encoding !== undefined && encoding !== 'identity') headers['grpc-encoding'] = 'not-taken';
}

/**
 * grpc-js ends calls by itself: over the size limit, out of time, a broken frame or header. Those answers carry no reason
 * and pass no interceptor. This one sees each of them, and has the call refused by us instead. A message that doesn't come
 * in the time that its call has is refused too.
 */
export function watchIntake(refuse: ReadonlyMap<string, RefuseCall>, limits: Limits): grpc.ServerInterceptor {
  return ({ path, requestStream, responseStream }, call) => {
    const intake: Intake = { refused: false };
    const sendStatus = call.sendStatus.bind(call);
    const incoming = { metadata: new grpc.Metadata(), peer: call.getPeer() };
    const sendMetadata = call.sendMetadata.bind(call);
    let begun = false;
    call.sendMetadata = (metadata) => {
      begun = true;
      sendMetadata(acceptNoEncoding(metadata));
    };
    const send = (status: GrpcStatus) =>
      sendStatus(begun ? status : { ...status, metadata: acceptNoEncoding(status.metadata ?? new grpc.Metadata()) });
    const end = (refusal: Fault | ConnectError) => {
      if (intake.refused) return;
      intake.refused = true;
      if (intake.stop) intake.stop(refusal);
      else
        refuse
          .get(path)?.(incoming, refusal)
          .then(send, () => send(BROKEN));
    };
    call.sendStatus = (status) => {
      if (status.code === grpc.status.OK || isOurs(status.metadata)) send(status);
      else if (status.code === grpc.status.DEADLINE_EXCEEDED && deadlineOf(call) === Number.POSITIVE_INFINITY) return;
      else end(meaningOf(status));
    };
    const hasDefault = !responseStream && deadlineOf(call) === Number.POSITIVE_INFINITY;
    const messageMs = Math.min(hasDefault ? limits.defaultDeadlineMs : limits.bodyMs, limits.bodyMs);
    let late: NodeJS.Timeout | undefined;
    const listener: grpc.ServerListener = {
      onReceiveMetadata: (metadata, proceed) => {
        if (!requestStream) late = setTimeout(() => end(outOfTime()), messageMs).unref();
        incoming.metadata = metadata;
        Object.assign(metadata, { [INTAKE]: intake });
        proceed(metadata);
      },
      onReceiveHalfClose: (proceed) => {
        clearTimeout(late);
        proceed();
      },
      onCancel: () => clearTimeout(late),
    };
    return new grpc.ServerInterceptingCall(call, { start: (next) => next(listener) });
  };
}

/** Contradicts the header in which grpc-js invites clients to pack their messages. */
function acceptNoEncoding(metadata: grpc.Metadata): grpc.Metadata {
  metadata.set('grpc-accept-encoding', 'identity');
  return metadata;
}

/**
 * When a call must end, in ms since 1970; Infinity without a deadline. grpc-js counts time-outs in 32 bits: one of 25 days
 * or more may lie in the past for it, and then it ends the call at once. Such a deadline is none.
 */
export function deadlineOf(call: Pick<grpc.ServerInterceptingCallInterface, 'getDeadline'>): number {
  const deadline = Number(call.getDeadline());
  return deadline < Date.now() - LONG_PAST_MS ? Number.POSITIVE_INFINITY : deadline;
}

function meaningOf({ code, details }: GrpcStatus): Fault | ConnectError {
  switch (code) {
    case grpc.status.RESOURCE_EXHAUSTED:
      return tooLarge();
    case grpc.status.DEADLINE_EXCEEDED:
      return outOfTime();
    case grpc.status.UNIMPLEMENTED:
      if (/unsupported encoding/.test(details ?? ''))
        return new ConnectError('requests are taken without compression only', Code.Unimplemented);
      // None, or two, where a unary method takes one.
      return /request message/.test(details ?? '')
        ? malformed()
        : new ConnectError(String(details).toWellFormed(), Code.Unimplemented);
    default:
      return /^(Error writing|Internal server error)/.test(details ?? '')
        ? cancelled()
        : malformed(new Error(details ?? ''));
  }
}
