import { on, once } from 'node:events';
import type { Interceptor, MethodImplSpec } from '@connectrpc/connect';
import type * as grpc from '@grpc/grpc-js';
import { type Chain, type ChainRequest, type ChainResponse, chainOf, refuseThrough } from './chain.ts';
import { toConnectError } from './errors.ts';
import { faultOfAbort } from './framework-error.ts';
import { ENDED, endOnCancel, type GrpcCall, type GrpcContext, type GrpcScope, grpcContext } from './grpc-call.ts';
import { bytesOf, innermost, requestOfBytes, requestOfStream } from './grpc-chain.ts';
import { intakeOf, type RefuseCall } from './grpc-intake.ts';
import { metadataOf, statusOf } from './grpc-metadata.ts';

type Readable = grpc.ServerReadableStream<Buffer, Buffer> | grpc.ServerDuplexStream<Buffer, Buffer>;
type Outgoing = grpc.ServerWritableStream<Buffer, Buffer> | grpc.ServerDuplexStream<Buffer, Buffer>;

/** A method as grpc-js serves it. */
export interface GrpcMethod {
  readonly handler: grpc.UntypedHandleCall;
  /** The status of a call refused before its message was there. */
  readonly refuse: RefuseCall;
}

/** What a call asks, and how it is answered. */
interface Exchange {
  readonly request: (context: GrpcContext) => ChainRequest;
  readonly answer: (response: ChainResponse, context: GrpcContext) => void | Promise<void>;
  readonly fail: (error: unknown, context: GrpcContext) => void;
}

/** Mounts a handler behind `interceptors`, with the semantics of Connect: all four kinds of method. */
export function grpcMethod(spec: MethodImplSpec, interceptors: readonly Interceptor[], scope: GrpcScope): GrpcMethod {
  const chain = chainOf(interceptors, innermost(spec, scope.limits));
  const serve = (call: GrpcCall, exchange: Exchange) => {
    serveCall(call, exchange, { spec, chain, scope }).catch((err: unknown) => {
      scope.log.error({ err }, 'a call could not be answered');
    });
  };
  return { handler: handlerOf(spec, serve), refuse: refusalOf(spec, chain, scope) };
}

function handlerOf(
  { kind }: MethodImplSpec,
  serve: (call: GrpcCall, exchange: Exchange) => void,
): grpc.UntypedHandleCall {
  type Unary = grpc.ServerUnaryCall<Buffer, Buffer>;
  type Answer = grpc.sendUnaryData<Buffer>;
  switch (kind) {
    case 'unary':
      return (call: Unary, send: Answer) => serve(call, { request: oneMessage(call), ...oneAnswer(call, send) });
    case 'client_streaming':
      return (call: grpc.ServerReadableStream<Buffer, Buffer>, send: Answer) =>
        serve(call, { request: manyMessages(call), ...oneAnswer(call, send) });
    case 'server_streaming':
      return (call: grpc.ServerWritableStream<Buffer, Buffer>) =>
        serve(call, { request: oneMessage(call), ...manyAnswers(call) });
    case 'bidi_streaming':
      return (call: grpc.ServerDuplexStream<Buffer, Buffer>) =>
        serve(call, { request: manyMessages(call), ...manyAnswers(call) });
  }
}

interface Mounted {
  readonly spec: MethodImplSpec;
  readonly chain: Chain;
  readonly scope: GrpcScope;
}

async function serveCall(call: GrpcCall, { request, answer, fail }: Exchange, { spec, chain, scope }: Mounted) {
  const intake = intakeOf(call.metadata);
  if (intake.refused) return;
  const context = grpcContext(call, spec.method, scope);
  intake.stop = context.end;
  endOnCancel(call, context);
  try {
    await answer(await chain(request(context)), context);
  } catch (error) {
    fail(error, context);
  } finally {
    context.end(ENDED);
  }
}

function refusalOf(spec: MethodImplSpec, chain: Chain, scope: GrpcScope): RefuseCall {
  return async ({ metadata, peer }, refusal) => {
    const call = { metadata, getPeer: () => peer, getDeadline: () => Number.POSITIVE_INFINITY, getHost: () => '' };
    const context = grpcContext(call, spec.method, scope);
    const answer = await refuseThrough(chain, context, refusal);
    context.end(ENDED);
    return statusOf(answer);
  };
}

function oneMessage(call: { request: Buffer }): Exchange['request'] {
  return (context) => requestOfBytes(context, call.request);
}

function manyMessages(call: Readable): Exchange['request'] {
  return (context) => requestOfStream(context, messagesOf(call, context.signal));
}

/** A loop over the stream itself would destroy it, and so the answer, when it is left early or when the call fails. */
async function* messagesOf(call: Readable, signal: AbortSignal): AsyncGenerator<Buffer> {
  const arrivals = on(call, 'data', { close: ['end'], signal, highWaterMark: 1, lowWaterMark: 1 });
  for await (const [bytes] of arrivals) yield bytes;
}

function oneAnswer(call: GrpcCall, send: grpc.sendUnaryData<Buffer>): Pick<Exchange, 'answer' | 'fail'> {
  return {
    answer: async (response, { method }) => {
      const message = response.stream ? await lastOf(response.message) : response.message;
      call.sendMetadata(metadataOf(response.header));
      send(null, bytesOf(method.output, message), metadataOf(response.trailer));
    },
    fail: (error, { responseHeader, responseTrailer }) =>
      send(statusOf(toConnectError(error), responseHeader, responseTrailer)),
  };
}

function manyAnswers(call: Outgoing): Pick<Exchange, 'answer' | 'fail'> {
  let begun = false;
  const begin = (header: Headers) => {
    if (!begun) call.sendMetadata(metadataOf(header));
    begun = true;
  };
  return {
    answer: async ({ message, header, trailer, stream }, { method, signal }) => {
      if (!stream) throw new Error(`the answer of ${method.name} is no stream`);
      for await (const one of message) {
        // Not before: a generator sets its headers when it is first asked.
        begin(header);
        if (!call.write(bytesOf(method.output, one))) await once(call, 'drain', { signal });
      }
      begin(header);
      call.end(metadataOf(trailer));
    },
    fail: (error, { signal, responseHeader, responseTrailer }) => {
      const answer = toConnectError(signal.aborted ? faultOfAbort(signal) : error);
      call.emit('error', statusOf(answer, ...(begun ? [] : [responseHeader]), responseTrailer));
    },
  };
}

/** Draws a stream of one message to its end, where its trailers are complete. */
async function lastOf<T>(items: AsyncIterable<T>): Promise<T> {
  let last: T | undefined;
  for await (const item of items) last = item;
  if (last === undefined) throw new Error('a call was answered with nothing');
  return last;
}
