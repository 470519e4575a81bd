import { AggregatorRegistry } from 'prom-client';
import type { Snapshot } from './metrics.ts';

/** What Prometheus reads; see CONTENT_TYPE. */
export function textOf(snapshots: readonly Snapshot[]): Promise<string> {
  return added(snapshots).metrics();
}

export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** The sum of all of them; of what has no sum, what each metric names: the least, or the first. */
function added(snapshots: readonly Snapshot[]) {
  return AggregatorRegistry.aggregate(snapshots as unknown as object[]);
}

/** What one process after the other has counted, so that no sum ever goes back because one of them has ended. */
export interface Succession {
  /** The process of today tells how things stand. */
  now(snapshot: Snapshot): void;
  /** It has ended: what it counted stays, what it held is gone. */
  ended(): Promise<void>;
  all(): readonly Snapshot[];
}

export function succession(): Succession {
  let before: Snapshot = [];
  let latest: Snapshot = [];
  return {
    now(snapshot) {
      latest = snapshot;
    },
    async ended() {
      const sum = await added([before, latest.filter(onlyGrows)]).getMetricsAsJSON();
      [before, latest] = [sum, []];
    },
    all: () => [before, latest],
  };
}

function onlyGrows({ type }: Snapshot[number]): boolean {
  // Of a type that the library says is a number, and is a word.
  return ['counter', 'histogram'].includes(`${type}`);
}
