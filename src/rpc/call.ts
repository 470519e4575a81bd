import { createContextKey, type HandlerContext } from '@connectrpc/connect';
import type { Call, Caller } from '../caller.ts';
import { Fault } from '../fault.ts';

export type { Call, Caller, RoleName } from '../caller.ts';

/** Set by authenticate. */
export const kCaller = createContextKey<Caller | undefined>(undefined, { description: 'caller' });
/** Set by observe. */
export const kTraceId = createContextKey('', { description: 'trace id' });
/** Set by the listener. */
export const kPeerAddress = createContextKey('', { description: 'client address' });

/** The call that `ctx` belongs to. */
export function callOf(ctx: HandlerContext): Call {
  return {
    caller: ctx.values.get(kCaller),
    method: ctx.method.name,
    traceId: ctx.values.get(kTraceId),
    clientAddress: ctx.values.get(kPeerAddress),
    userAgent: (ctx.requestHeader.get('user-agent') ?? '').slice(0, 200),
    signal: ctx.signal,
  };
}

/** The signed-in caller. Throws TOKEN_INVALID when there is none, which the access rule has already excluded. */
export function callerOf(ctx: HandlerContext): Caller {
  const caller = ctx.values.get(kCaller);
  if (!caller) throw new Fault('TOKEN_INVALID', 'an access token is needed');
  return caller;
}
