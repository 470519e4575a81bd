import type { MikroORM } from '@mikro-orm/postgresql';
import { orAbort } from '../or-abort.ts';
import { type JobFigures, jobFigures } from './job-figures.ts';

const TOO_SLOW_MS = 1_000;
const KEPT_MS = 5_000;

/** The figures of all jobs, asked of the database at most every five seconds, however often they are asked for here; none without an answer in time. */
export function watchedFigures(orm: MikroORM): () => Promise<readonly JobFigures[]> {
  let last: { readonly at: number; readonly answer: Promise<readonly JobFigures[]> } | undefined;
  const ask = () => {
    const signal = AbortSignal.timeout(TOO_SLOW_MS);
    return orAbort(signal, jobFigures(orm, signal)).catch(() => []);
  };
  return () => {
    if (!last || performance.now() - last.at > KEPT_MS) last = { at: performance.now(), answer: ask() };
    return last.answer;
  };
}
