import { Fault } from '../fault.ts';

/** The line before the connections of the pool. */
export interface Line {
  /** Resolves when it is this caller's turn, with the function that ends it. Rejects OVERLOADED after the wait, or when `signal` aborts. */
  enter(signal: AbortSignal): Promise<() => void>;
  /** Whether who comes now would wait too long, and should rather come again later. */
  full(): boolean;
  /** How many wait. */
  waiting(): number;
}

/** In line at most. */
const LENGTH = 1_000;
/** Once somebody was sent away: milliseconds that a newcomer may have to wait, and that those in line may have waited. */
const BUSY_MS = { newcomer: 50, inLine: 200 };
/** Milliseconds without anybody sent away after which all is calm. */
const CALM_MS = 5_000;
/** How many of those who left last say how long one stays inside. */
const LATELY = 16;

interface Waiting {
  /** As performance.now() has it. */
  readonly since: number;
  admit(): void;
  refuse(): void;
}

/**
 * A line before `connections`. How long a newcomer will wait is known from how long those inside lately took. While all is
 * calm everybody is let in who will wait for `waitMs` milliseconds at most: a crowd that comes at once gets its turn. When
 * the line has grown too long for that, there is more to do than can be done: the line is kept short then, so that who is
 * let in is answered soon. (Without: at four times what an instance can serve, a third of that was served, after 3 s.)
 */
export function createLine({ connections, waitMs }: { connections: number; waitMs: number }): Line {
  const waiting = new Set<Waiting>();
  let inside = 0;
  let insideMs = 0;
  let fullAt = Number.NEGATIVE_INFINITY;

  function leave(since: number): () => void {
    return () => {
      const ms = performance.now() - since;
      insideMs += (ms - insideMs) / (insideMs === 0 ? 1 : LATELY);
      const [next] = waiting;
      if (next) next.admit();
      else inside -= 1;
    };
  }
  function shorten(now: number): void {
    for (const one of waiting) {
      if (now - one.since <= BUSY_MS.inLine) return;
      one.refuse();
    }
  }
  return {
    async enter(signal) {
      signal.throwIfAborted();
      if (inside < connections) inside += 1;
      // Whoever leaves hands the place over, so `inside` stays.
      else await turn(waiting, waitMs, signal);
      return leave(performance.now());
    },
    full() {
      const now = performance.now();
      const [first] = waiting;
      const expectedMs = Math.max(first ? now - first.since : 0, (waiting.size * insideMs) / connections);
      const busy = now - fullAt <= CALM_MS;
      if (expectedMs <= (busy ? BUSY_MS.newcomer : waitMs) && waiting.size < LENGTH) return false;
      fullAt = now;
      shorten(now);
      return true;
    },
    waiting: () => waiting.size,
  };
}

/** Stands in line until it is admitted, refused, has waited for `waitMs` milliseconds, or `signal` aborts. */
function turn(line: Set<Waiting>, waitMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const out = () => {
      line.delete(waiting);
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    };
    const waiting: Waiting = {
      since: performance.now(),
      admit() {
        out();
        resolve();
      },
      refuse() {
        out();
        reject(new Fault('OVERLOADED', 'others are before this call'));
      },
    };
    const abort = () => {
      out();
      reject(signal.reason);
    };
    const timer = setTimeout(waiting.refuse, waitMs);
    signal.addEventListener('abort', abort, { once: true });
    line.add(waiting);
  });
}
