import type { TextMapPropagator } from '@opentelemetry/api';
import { CompositePropagator, W3CTraceContextPropagator } from '@opentelemetry/core';
import type { Propagator } from './settings.ts';

/** Reads from a call's headers which trace it belongs to, in each of these ways; where several tell, the last one counts. */
export async function propagatorOf(names: readonly Propagator[]): Promise<TextMapPropagator> {
  const propagators = await Promise.all(names.map(make));
  return new CompositePropagator({ propagators: propagators.filter((one) => one !== undefined) });
}

async function make(name: Propagator): Promise<TextMapPropagator | undefined> {
  switch (name) {
    case 'tracecontext':
      return new W3CTraceContextPropagator();
    case 'b3':
    case 'b3multi':
      return new (await import('@opentelemetry/propagator-b3')).B3Propagator(); // it reads both forms
    case 'jaeger':
      return new (await import('@opentelemetry/propagator-jaeger')).JaegerPropagator();
    case 'baggage':
      return undefined; // nothing here reads it, and no call leaves that would take it along
  }
}
