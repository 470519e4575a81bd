import type { DescMethod } from '@bufbuild/protobuf';
import type { Interceptor } from '@connectrpc/connect';
import { orAbort } from '../or-abort.ts';
import type { Limits } from './limits.ts';

/** Timers of Node end at 2^31 ms; nobody means more than a day. */
const LONGEST_STREAM_MS = 86_400_000;

/**
 * Milliseconds that a call gets when its caller asks for `askedMs`: capped, with a default, for unary methods; what was
 * asked, or no end, for streams.
 */
export function timeAllowed(askedMs: number | undefined, method: DescMethod, limits: Limits): number | undefined {
  if (method.methodKind === 'unary') return Math.min(askedMs ?? limits.defaultDeadlineMs, limits.longestDeadlineMs);
  return askedMs === undefined ? undefined : Math.min(askedMs, LONGEST_STREAM_MS);
}

/**
 * Ends a call as soon as its signal aborts, with the signal's reason, even if the handler doesn't notice. What the
 * handler answers after that is dropped.
 */
export function endPromptly(): Interceptor {
  return (next) => async (req) => {
    req.signal.throwIfAborted();
    const res = await orAbort(req.signal, next(req));
    return res.stream ? { ...res, message: untilAbort(req.signal, res.message) } : res;
  };
}

async function* untilAbort<T>(signal: AbortSignal, items: AsyncIterable<T>): AsyncGenerator<T> {
  const iterator = items[Symbol.asyncIterator]();
  try {
    for (;;) {
      signal.throwIfAborted();
      const item = await orAbort(signal, iterator.next());
      if (item.done) return;
      yield item.value;
    }
  } finally {
    // Not awaited: a handler that waits for something else would hold the end up.
    iterator.return?.().catch(() => {});
  }
}
