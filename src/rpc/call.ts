import { createContextKey, type HandlerContext, type Interceptor } from '@connectrpc/connect';
import type { Call, Caller } from '../caller.ts';
import { Fault } from '../fault.ts';

export type { Call, Caller, RoleName } from '../caller.ts';

type ChainRequest = Parameters<ReturnType<Interceptor>>[0];

/** Set by authenticate. */
export const kCaller = createContextKey<Caller | undefined>(undefined, { description: 'caller' });
/** Set by observe. */
export const kTraceId = createContextKey('', { description: 'trace id' });
/** Set by the listener. */
export const kPeerAddress = createContextKey('', { description: 'client address' });

/** The call that `ctx` belongs to. */
export function callOf({ values, method, requestHeader, signal }: HandlerContext): Call {
  return callOfRequest({ contextValues: values, method, header: requestHeader, signal });
}

/** The call that a request of the interceptors' chain belongs to. */
export function callOfRequest({
  contextValues,
  method,
  header,
  signal,
}: Pick<ChainRequest, 'contextValues' | 'method' | 'header' | 'signal'>): Call {
  return {
    caller: contextValues.get(kCaller),
    method: method.name,
    traceId: contextValues.get(kTraceId),
    clientAddress: contextValues.get(kPeerAddress),
    userAgent: (header.get('user-agent') ?? '').slice(0, 200),
    signal,
  };
}

/** The signed-in caller. Throws TOKEN_INVALID when there is none, which the access rule has already excluded. */
export function callerOf(ctx: HandlerContext): Caller {
  const caller = ctx.values.get(kCaller);
  if (!caller) throw new Fault('TOKEN_INVALID', 'an access token is needed');
  return caller;
}
