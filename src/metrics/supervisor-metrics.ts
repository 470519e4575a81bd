import { Counter, Registry } from 'prom-client';
import type { Snapshot } from './metrics.ts';
import { processMetrics } from './process-metrics.ts';

/** What a supervisor counts of its processes, and of itself. */
export interface SupervisorMetrics {
  /** A process has ended by itself, and another takes its place. */
  replaced(): void;
  snapshot(): Promise<Snapshot>;
}

export function supervisorMetrics(): SupervisorMetrics {
  const registry = new Registry();
  processMetrics(registry);
  const replaced = new Counter({
    name: 'process_replacements_total',
    help: 'Processes that ended by themselves and were replaced.',
    registers: [registry],
  });
  return { replaced: () => replaced.inc(), snapshot: () => registry.getMetricsAsJSON() };
}
