import { randomUUIDv7 } from 'node:crypto';
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { status } from '@grpc/grpc-js';
import { kCaller, kPeerAddress, kTraceId } from './call.ts';
import { reasonOf } from './errors.ts';
import type { CallLog } from './log.ts';

const SANE = /^[A-Za-z0-9._-]{1,64}$/;
const HEADER = 'x-request-id';

type Request = Parameters<ReturnType<Interceptor>>[0];

/** Outermost: names each call, echoes the name in the answer, and logs one line when the call has ended. */
export function observe(log: CallLog): Interceptor {
  return (next) => async (req) => {
    const startedAt = performance.now();
    const requestId = idOf(req.header.get(HEADER));
    req.contextValues.set(kTraceId, requestId);
    const ended = (failure?: unknown) => {
      if (failure instanceof ConnectError) failure.metadata.set(HEADER, requestId);
      log.info(line(req, failure, performance.now() - startedAt), 'call');
    };
    try {
      const res = await next(req);
      res.header.set(HEADER, requestId);
      if (res.stream) return { ...res, message: watched(res.message, ended) };
      ended();
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

function line({ service, method, contextValues }: Request, failure: unknown, ms: number): object {
  const error = failure instanceof ConnectError ? failure : undefined;
  const caller = contextValues.get(kCaller);
  return {
    requestId: contextValues.get(kTraceId),
    method: `${service.typeName}/${method.name}`,
    code: status[failure ? (error?.code ?? Code.Internal) : status.OK],
    reason: error && reasonOf(error),
    durationMs: Math.round(ms * 100) / 100,
    callerId: caller?.userId,
    role: caller?.role,
    peer: contextValues.get(kPeerAddress),
  };
}
