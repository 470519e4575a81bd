import type { DescMethod } from '@bufbuild/protobuf';
import { type MetricObjectWithValues, type MetricValue, Registry } from 'prom-client';
import { type CallMetrics, callMetrics } from './call-metrics.ts';
import { type Counting, countings } from './countings.ts';
import { watchEventLoop } from './event-loop.ts';
import { collectGauges, type Gauges } from './gauges.ts';
import { processMetrics } from './process-metrics.ts';

/** Metrics as they travel between processes: plain data, which `summed` adds up. */
export type Snapshot = readonly MetricObjectWithValues<MetricValue<string>>[];

/** What a process counts of what it does. */
export interface Metrics extends CallMetrics, Counting {
  /** Has these looked at whenever somebody asks for metrics. */
  look(gauges: Gauges): void;
  /** Everything as it stands now. */
  snapshot(): Promise<Snapshot>;
  /** Ends what goes on beside. */
  stop(): void;
}

/** The metrics of a process that answers calls of `methods`; see docs/observability.md for each. */
export function createMetrics(methods: readonly DescMethod[]): Metrics {
  const registry = new Registry();
  const unwatch = watchEventLoop(registry);
  processMetrics(registry);
  return {
    ...callMetrics(registry, methods),
    ...countings(registry),
    look: (gauges) => collectGauges(registry, gauges),
    snapshot: () => registry.getMetricsAsJSON(),
    stop: unwatch,
  };
}
