import { orAbort } from './or-abort.ts';

const TOO_SLOW_MS = 1_000;
const KEPT_MS = 5_000;

/** `ask`s at most every five seconds, however often it is asked for here; `otherwise` when there is no answer in time. */
export function askedSeldom<T>(ask: (signal: AbortSignal) => Promise<T>, otherwise: T): () => Promise<T> {
  let last: { readonly at: number; readonly answer: Promise<T> } | undefined;
  const now = () => {
    const signal = AbortSignal.timeout(TOO_SLOW_MS);
    return orAbort(signal, ask(signal)).catch(() => otherwise);
  };
  return () => {
    if (!last || performance.now() - last.at > KEPT_MS) last = { at: performance.now(), answer: now() };
    return last.answer;
  };
}
