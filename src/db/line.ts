import { createGate } from './gate.ts';

/** The line before the connections of the pool. */
export interface Line {
  /** Resolves when it is this caller's turn, with the function that ends it. Rejects OVERLOADED after the wait, or when `signal` aborts. */
  enter(signal: AbortSignal): Promise<() => void>;
  /** Whether who comes now would wait too long, and should rather come again later. */
  full(): boolean;
}

/** In line for each connection at most: a crowd of some hundred that comes at once is let in. */
const LENGTH = 10;
/** Milliseconds that a newcomer may have to wait: while all is calm, and when somebody was sent away shortly before. */
const WAIT_MS = { calm: 250, busy: 100 };
/** Milliseconds without anybody sent away after which all is calm. */
const CALM_MS = 5_000;
/** How many of those who left last say how long one stays inside. */
const LATELY = 16;

/**
 * A line before `connections`; who waits in it for longer than `waitMs` milliseconds is refused. How long a newcomer will
 * wait is known from how long those inside lately took. One crowd may stand for a second; a load that doesn't end keeps the
 * line short, so that who is let in is answered soon. (Without: at four times what an instance can serve, a third of
 * that was served, after 3 s.)
 */
export function createLine({ connections, waitMs }: { connections: number; waitMs: number }): Line {
  const gate = createGate(connections, waitMs, 'OVERLOADED');
  let waiting = 0;
  let insideMs = 0;
  let fullAt = Number.NEGATIVE_INFINITY;
  return {
    async enter(signal) {
      waiting += 1;
      const leave = await gate.enter('', signal).finally(() => {
        waiting -= 1;
      });
      const since = performance.now();
      return () => {
        const ms = performance.now() - since;
        insideMs += (ms - insideMs) / (insideMs === 0 ? 1 : LATELY);
        leave();
      };
    },
    full() {
      const now = performance.now();
      const expectedMs = Math.max(gate.waitedMs(''), (waiting * insideMs) / connections);
      const most = now - fullAt > CALM_MS ? WAIT_MS.calm : WAIT_MS.busy;
      const full = waiting > LENGTH * connections || expectedMs > most;
      if (full) fullAt = now;
      return full;
    },
  };
}
