import { orAbort } from '../or-abort.ts';

const TOO_SLOW_MS = 1_000;
const KEPT_MS = 5_000;

/** What `ask` answers, asked at most every five seconds however often it is asked for here; `unknown` without an answer in a second. */
export function seldom<T>(ask: (signal: AbortSignal) => Promise<T>, unknown: T): () => Promise<T> {
  let last: { readonly at: number; readonly answer: Promise<T> } | undefined;
  const asked = () => {
    const signal = AbortSignal.timeout(TOO_SLOW_MS);
    return orAbort(signal, ask(signal)).catch(() => unknown);
  };
  return () => {
    if (!last || performance.now() - last.at > KEPT_MS) last = { at: performance.now(), answer: asked() };
    return last.answer;
  };
}
