import type { Config } from '../config.ts';
import type { Logger } from '../log.ts';
import { traceWith } from './tracer.ts';

/**
 * Has this process send spans to the collector that the configuration names. Where it names none, the SDK isn't even loaded.
 * The function it resolves with sends what is left, for a bounded time, and ends it.
 */
export async function startTracing(
  { tracing, instance }: Pick<Config, 'tracing' | 'instance'>,
  log: Logger,
): Promise<() => Promise<void>> {
  if (!tracing) return async () => {};
  const { openTelemetry } = await import('./open-telemetry.ts');
  const { tracer, stop } = await openTelemetry({ ...tracing, instance, log });
  traceWith(tracer);
  return async () => {
    traceWith(undefined);
    await stop();
  };
}
