import { Fault } from '../fault.ts';

/** How far a listener is on its way to its end. Each stage aborts its signal, with a Fault that says DRAINING. */
export interface Ending {
  /** HTTP/1 clients are asked to leave the connections that they have; everything is served. */
  readonly retired: AbortSignal;
  /** Streams end, and no new ones begin. Unary calls are served. */
  readonly closing: AbortSignal;
  /** Unary calls that only come now are refused: they might be cut. */
  readonly late: AbortSignal;
}

/** An end that has not begun, and what takes it further. A later stage includes the ones before. */
export interface EndingSteps extends Ending {
  retire(): void;
  close(): void;
  refuse(): void;
}

export function ending(): EndingSteps {
  const [retired, closing, late] = [new AbortController(), new AbortController(), new AbortController()];
  const reach = (...stages: AbortController[]) => {
    for (const stage of stages) stage.abort(new Fault('DRAINING', 'this instance is stopping'));
  };
  return {
    retired: retired.signal,
    closing: closing.signal,
    late: late.signal,
    retire: () => reach(retired),
    close: () => reach(retired, closing),
    refuse: () => reach(retired, closing, late),
  };
}
