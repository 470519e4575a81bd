import type { TurnAway } from './turned-away.ts';

/** Something that an answer is written to: an HTTP/2 stream, or the socket of an HTTP/1 connection. */
export interface Outlet {
  /** Bytes that wait to be taken. */
  readonly writableLength: number;
  readonly once: (event: 'close', listener: () => void) => unknown;
}

/** Watches an outlet until it closes; `cut` ends it at once. */
export type WatchOutlet = (outlet: Outlet, cut: () => void) => void;

/** Often enough that between two looks nobody can ask for much more. */
const LOOK_MS = 250;

/**
 * Bounds what clients who don't read make one listener hold, over all of its connections: beyond `most` bytes those lose
 * their answers who let the most wait.
 */
export function unreadBudget(most: number, turnAway: TurnAway): WatchOutlet {
  const outlets = new Map<Outlet, () => void>();
  let timer: NodeJS.Timeout | undefined;
  const look = () => {
    const waiting = [...outlets].filter(([{ writableLength }]) => writableLength > 0);
    let sum = waiting.reduce((total, [{ writableLength }]) => total + writableLength, 0);
    if (sum <= most) return;
    waiting.sort(([a], [b]) => b.writableLength - a.writableLength);
    for (const [{ writableLength }, cut] of waiting) {
      if (sum <= most) return;
      sum -= writableLength;
      turnAway('request that never ended or answer never read');
      cut();
    }
  };
  return (outlet, cut) => {
    outlets.set(outlet, cut);
    timer ??= setInterval(look, LOOK_MS).unref();
    outlet.once('close', () => {
      outlets.delete(outlet);
      if (outlets.size > 0) return;
      clearInterval(timer);
      timer = undefined;
    });
  };
}
