import type { Logger } from '../log.ts';

/** Tells an operator that something goes wrong, once and not each time it does. */
export interface Trouble {
  happened(problem: string): void;
  /** To be called whenever all seems well. */
  seemsOver(): void;
}

/** Milliseconds without any after which it is over. */
const CALM_MS = 30_000;

/** Nothing counts any more when `stopping` has aborted: connections end then. */
export function createTrouble(log: Pick<Logger, 'warn' | 'info'>, stopping: AbortSignal): Trouble {
  let lastAt: number | undefined;
  return {
    happened(problem) {
      if (stopping.aborted) return;
      if (lastAt === undefined) log.warn({ problem }, 'background jobs are in trouble');
      lastAt = performance.now();
    },
    seemsOver() {
      if (lastAt === undefined || performance.now() - lastAt < CALM_MS) return;
      lastAt = undefined;
      log.info('background jobs go on');
    },
  };
}
