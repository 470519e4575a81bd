import { Fault, type Reason } from '../fault.ts';

interface Lane {
  inside: number;
  readonly waiting: (() => void)[];
}

/** Lets a few through for each key and keeps the others waiting in memory, where they cost no database connection. */
export interface Gate {
  /** Resolves when there is room for `key`, with the function that makes room again. Rejects after the wait, or when `signal` aborts. */
  enter(key: string, signal: AbortSignal): Promise<() => void>;
}

/** A gate for `limit` at once a key; who waits longer than `waitMs` milliseconds is refused with `reason`. */
export function createGate(limit: number, waitMs: number, reason: Reason): Gate {
  const lanes = new Map<string, Lane>();
  const leave = (key: string, lane: Lane) => () => {
    const next = lane.waiting.shift();
    if (next) next();
    else if (--lane.inside === 0) lanes.delete(key);
  };
  return {
    async enter(key, signal) {
      signal.throwIfAborted();
      const lane = lanes.get(key) ?? { inside: 0, waiting: [] };
      lanes.set(key, lane);
      if (lane.inside < limit) lane.inside++;
      else await turn(lane, waitMs, reason, signal);
      return leave(key, lane);
    },
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
