import { create, type Message } from '@bufbuild/protobuf';
import type { ConnectError, HandlerContext, Interceptor } from '@connectrpc/connect';
import type { Fault } from '../fault.ts';
import { toConnectError } from './errors.ts';
import { kRefusal } from './translate.ts';

/** A handler behind its interceptors. */
export type Chain = ReturnType<Interceptor>;
export type ChainRequest = Parameters<Chain>[0];
export type ChainResponse = Awaited<ReturnType<Chain>>;

/** `innermost` behind `interceptors`, outermost first. */
export function chainOf(interceptors: readonly Interceptor[], innermost: Chain): Chain {
  return interceptors.reduceRight<Chain>((next, intercept) => intercept(next), innermost);
}

/** What a chain is asked for the call of `context`: one message if its method is unary, else a stream. */
export function requestOf(context: HandlerContext, message: Message | AsyncIterable<Message>): ChainRequest {
  const { service, method, requestMethod, url, signal, requestHeader: header, values: contextValues } = context;
  const stream = method.methodKind !== 'unary';
  // The kind of the method says which of the two requests this is; its type doesn't.
  return { stream, service, method, requestMethod, url, signal, header, contextValues, message } as ChainRequest;
}

/** Has `chain` log and answer a call whose message nobody has read, as any other. */
export async function refuseThrough(
  chain: Chain,
  context: HandlerContext,
  why: Fault | ConnectError,
): Promise<ConnectError> {
  const message = create(context.method.input);
  context.values.set(kRefusal, why);
  try {
    await chain(requestOf(context, context.method.methodKind === 'unary' ? message : only(message)));
    return toConnectError(why);
  } catch (error) {
    return toConnectError(error);
  }
}

/** A stream of one item. */
export async function* only<T>(item: T): AsyncGenerator<T> {
  yield item;
}
