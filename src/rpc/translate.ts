import { Code, type ConnectError, createContextKey, type Interceptor } from '@connectrpc/connect';
import { Fault } from '../fault.ts';
import { kTraceId } from './call.ts';
import { toConnectError } from './errors.ts';
import { faultOfAbort } from './framework-error.ts';
import type { CallLog } from './log.ts';

/** Set by a listener that refuses a call before its message is read: the chain then logs and answers that, and no more. */
export const kRefusal = createContextKey<Fault | ConnectError | undefined>(undefined, { description: 'refusal' });

type Request = Parameters<ReturnType<Interceptor>>[0];

/** Turns whatever is thrown inside into the answer that callers get, and logs whole what nobody expected. */
export function translateErrors(log: CallLog): Interceptor {
  return (next) => async (req) => {
    try {
      const refusal = req.contextValues.get(kRefusal);
      if (refusal) throw refusal;
      const res = await next(req);
      return res.stream ? { ...res, message: translated(res.message, (error) => translate(error, req, log)) } : res;
    } catch (error) {
      throw translate(error, req, log);
    }
  };
}

async function* translated<T>(items: AsyncIterable<T>, translate: (error: unknown) => ConnectError): AsyncGenerator<T> {
  try {
    yield* items;
  } catch (error) {
    throw translate(error);
  }
}

function translate(error: unknown, req: Request, log: CallLog): ConnectError {
  const { service, method, signal, contextValues } = req;
  // What breaks because the call is over, breaks for that reason.
  const answer = toConnectError(signal.aborted && !(error instanceof Fault) ? faultOfAbort(signal) : error);
  if (answer.code === Code.Internal) {
    const requestId = contextValues.get(kTraceId);
    log.error({ err: answer.cause, requestId, method: `${service.typeName}/${method.name}` }, 'unexpected error');
  }
  // What the caller is told says nothing of why: the operator wants to know.
  else if (answer.code === Code.Unavailable && error instanceof Fault && error.options.cause) {
    const problem = (error.options.cause as Error).message;
    log.info({ reason: error.reason, problem, requestId: contextValues.get(kTraceId) }, 'unavailable');
  }
  return answer;
}
