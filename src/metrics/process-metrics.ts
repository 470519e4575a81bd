import { collectDefaultMetrics, type Registry } from 'prom-client';

/**
 * The library's own of the event loop are no histogram, and start over with whoever asks; event-loop.ts has ours. Those of what is active
 * have names that Prometheus takes for counters.
 */
const NOT_OURS = /^nodejs_(eventloop_lag|active)_/;

/** Memory, CPU time, garbage collection, and file descriptors, under the names that everybody knows. */
export function processMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry });
  for (const { name } of registry.getMetricsAsArray()) if (NOT_OURS.test(name)) registry.removeSingleMetric(name);
}
