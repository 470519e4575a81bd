import type { CallLog } from './log.ts';

/** What is turned away before it is a call, so that no line of the log is about it alone. */
export type Stray = (typeof STRAYS)[number];

export const STRAYS = [
  'connection over the limit',
  'connection without a word',
  'stream over the limit',
  'too many calls broken off',
  'request that never ended or answer never read',
  'no such method',
  'another content type',
  'another HTTP method',
  'another HTTP version',
  'malformed request',
] as const;

/** Counts strays, and those of one client for whom there are many. */
export type TurnAway = (stray: Stray, client?: string) => void;

/** At most one line in so many milliseconds, however many there are. */
const EVERY_MS = 10_000;

/** Of so many clients at once it is known how often they were turned away; the first ones in a flood from everywhere. */
const MOST_CLIENTS = 1_000;

/**
 * Logs how many strays there were, and which client was turned away most: the first ones soon, then a sum from time to
 * time. A flood costs no disk.
 */
export function turnedAway(log: CallLog, everyMs = EVERY_MS, count: (stray: Stray) => void = () => {}): TurnAway {
  const counts = new Map<Stray, number>();
  const clients = new Map<string, number>();
  let toTell = false;
  let toldAt = Number.NEGATIVE_INFINITY;
  const tell = () => {
    toTell = false;
    toldAt = performance.now();
    const [mostly] = [...clients].reduce((a, b) => (b[1] > a[1] ? b : a), ['', 0]);
    log.info({ counts: Object.fromEntries(counts), ...(mostly && { mostly }) }, 'turned away');
    counts.clear();
    clients.clear();
  };
  return (stray, client) => {
    count(stray);
    counts.set(stray, (counts.get(stray) ?? 0) + 1);
    if (client !== undefined && (clients.has(client) || clients.size < MOST_CLIENTS))
      clients.set(client, (clients.get(client) ?? 0) + 1);
    if (toTell) return;
    toTell = true;
    setTimeout(tell, Math.max(0, toldAt + everyMs - performance.now())).unref();
  };
}
