import { Fault, type Reason } from '../fault.ts';

interface Lane {
  inside: number;
  limit: number;
  readonly waiting: (() => void)[];
}

/** Makes room for the next. `eased` says whether those who come now will hardly hold each other up; left out, it is as before. */
export type Leave = (eased?: boolean) => void;

/** How many at once a key. */
export interface GateLimit {
  readonly usual: number;
  /** While they hardly hold each other up; otherwise as usual. */
  readonly eased: number;
}

/** Lets a few through for each key and keeps the others waiting in memory, where they cost no database connection. */
export interface Gate {
  /** Resolves when there is room for `key`, with the function that makes room again. Rejects after the wait, or when `signal` aborts. */
  enter(key: string, signal: AbortSignal): Promise<Leave>;
  /** Whether somebody is inside for `key`. */
  busy(key: string): boolean;
}

/** A gate for `limit` at once a key; who waits longer than `waitMs` milliseconds is refused with `reason`. */
export function createGate(limit: number | GateLimit, waitMs: number, reason: Reason): Gate {
  const { usual, eased } = typeof limit === 'number' ? { usual: limit, eased: limit } : limit;
  const lanes = new Map<string, Lane>();
  const leave =
    (key: string, lane: Lane): Leave =>
    (easy) => {
      if (easy !== undefined) lane.limit = easy ? eased : usual;
      lane.inside--;
      while (lane.inside < lane.limit && lane.waiting.length > 0) {
        lane.inside++;
        lane.waiting.shift()?.();
      }
      if (lane.inside === 0) lanes.delete(key);
    };
  return {
    async enter(key, signal) {
      signal.throwIfAborted();
      const lane = lanes.get(key) ?? { inside: 0, limit: usual, waiting: [] };
      lanes.set(key, lane);
      if (lane.inside < lane.limit) lane.inside++;
      else await turn(lane, waitMs, reason, signal);
      return leave(key, lane);
    },
    busy: (key) => lanes.has(key),
  };
}

function turn(lane: Lane, waitMs: number, reason: Reason, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    };
    const admit = () => {
      end();
      resolve();
    };
    const giveUp = (error: unknown) => {
      end();
      lane.waiting.splice(lane.waiting.indexOf(admit), 1);
      reject(error);
    };
    const abort = () => giveUp(signal.reason);
    const timer = setTimeout(() => giveUp(new Fault(reason, 'others are before this call')), waitMs);
    signal.addEventListener('abort', abort, { once: true });
    lane.waiting.push(admit);
  });
}
