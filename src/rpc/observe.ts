import { randomUUIDv7 } from 'node:crypto';
import type { DescMethod } from '@bufbuild/protobuf';
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { status } from '@grpc/grpc-js';
import { traceIdIn } from '../tracing/trace-parent.ts';
import { kCaller, kPeerAddress, kTraceId } from './call.ts';
import { beginCallSpan, endCallSpan } from './call-span.ts';
import { reasonOf } from './errors.ts';
import type { CallLog } from './log.ts';
import { REPLAYED } from './once.ts';

const SANE = /^[A-Za-z0-9._-]{1,64}$/;
const HEADER = 'x-request-id';

type Request = Parameters<ReturnType<Interceptor>>[0];

/** What became of a call. */
export interface EndedCall {
  readonly method: DescMethod;
  /** The name of its gRPC code. */
  readonly code: string;
  /** Why it was refused, as the contract names it. */
  readonly reason: string | undefined;
  readonly seconds: number;
  /** Whether it got the answer that another try had been given. */
  readonly replayed: boolean;
}

/**
 * Outermost: names each call, echoes the name in the answer, and logs one line when the call has ended, of which `count` hears
 * too. Where spans are made, everything inside belongs to the call's.
 */
export function observe(log: CallLog, count: (call: EndedCall) => void = () => {}): Interceptor {
  return (next) => async (req) => {
    const startedAt = performance.now();
    const requestId = idOf(req.header.get(HEADER));
    req.contextValues.set(kTraceId, requestId);
    const span = beginCallSpan(req, requestId);
    const traceId = span ? span.traceId : traceIdIn(req.header);
    const ended = (failure?: unknown, header?: Headers) => {
      const error = failure instanceof ConnectError ? failure : undefined;
      const code = status[failure ? (error?.code ?? Code.Internal) : status.OK] as string;
      const reason = error && reasonOf(error);
      const ms = performance.now() - startedAt;
      error?.metadata.set(HEADER, requestId);
      const replayed = (error?.metadata ?? header)?.has(REPLAYED) ?? false;
      count({ method: req.method, code, reason, seconds: ms / 1000, replayed });
      log.info(line(req, { code, reason, ms, traceId }), 'call');
      if (span) endCallSpan(span, { code, reason });
    };
    try {
      const res = await (span ? span.within(() => next(req)) : next(req));
      res.header.set(HEADER, requestId);
      if (res.stream) return { ...res, message: watched(res.message, ended) };
      ended(undefined, res.header);
      return res;
    } catch (error) {
      ended(error);
      throw error;
    }
  };
}

function idOf(header: string | null): string {
  return header !== null && SANE.test(header) ? header : randomUUIDv7();
}

/** A reader that stops early has cancelled. */
async function* watched<T>(items: AsyncIterable<T>, ended: (failure?: unknown) => void): AsyncGenerator<T> {
  let failure: unknown = new ConnectError('stopped', Code.Canceled);
  try {
    yield* items;
    failure = undefined;
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    ended(failure);
  }
}

interface End extends Pick<EndedCall, 'code' | 'reason'> {
  readonly ms: number;
  readonly traceId: string | undefined;
}

function line({ service, method, contextValues }: Request, { code, reason, ms, traceId }: End): object {
  const caller = contextValues.get(kCaller);
  return {
    requestId: contextValues.get(kTraceId),
    method: `${service.typeName}/${method.name}`,
    code,
    reason,
    durationMs: Math.round(ms * 100) / 100,
    callerId: caller?.userId,
    role: caller?.role,
    peer: contextValues.get(kPeerAddress),
    traceId,
  };
}
