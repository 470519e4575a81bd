import type { CallLog } from './log.ts';

/** What is turned away before it is a call, so that no line of the log is about it alone. */
export type Stray =
  | 'connection over the limit'
  | 'connection without a word'
  | 'too many calls broken off'
  | 'request that never ended or answer never read'
  | 'no such method'
  | 'another content type'
  | 'another HTTP method'
  | 'malformed request';

/** Counts strays. */
export type TurnAway = (stray: Stray) => void;

/** At most one line in so many milliseconds, however many there are. */
const EVERY_MS = 10_000;

/** Logs how many strays there were: the first ones soon, then a sum from time to time. A flood costs no disk. */
export function turnedAway(log: CallLog, everyMs = EVERY_MS): TurnAway {
  const counts = new Map<Stray, number>();
  let toTell = false;
  let toldAt = Number.NEGATIVE_INFINITY;
  const tell = () => {
    toTell = false;
    toldAt = performance.now();
    log.info({ counts: Object.fromEntries(counts) }, 'turned away');
    counts.clear();
  };
  return (stray) => {
    counts.set(stray, (counts.get(stray) ?? 0) + 1);
    if (toTell) return;
    toTell = true;
    setTimeout(tell, Math.max(0, toldAt + everyMs - performance.now())).unref();
  };
}
