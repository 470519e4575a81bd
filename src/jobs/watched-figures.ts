import { orAbort } from '../or-abort.ts';

const TOO_SLOW_MS = 1_000;
const KEPT_MS = 5_000;

/** Figures that `ask` has of the database, asked for at most every five seconds, however often they are asked for here; undefined without an answer in time. */
export function watchedFigures<T>(ask: (signal: AbortSignal) => Promise<T>): () => Promise<T | undefined> {
  let last: { readonly at: number; readonly answer: Promise<T | undefined> } | undefined;
  const answer = () => {
    const signal = AbortSignal.timeout(TOO_SLOW_MS);
    return orAbort(signal, ask(signal)).catch(() => undefined);
  };
  return () => {
    if (!last || performance.now() - last.at > KEPT_MS) last = { at: performance.now(), answer: answer() };
    return last.answer;
  };
}
