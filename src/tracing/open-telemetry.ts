import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Context,
  context,
  DiagLogLevel,
  diag,
  type Span as OtelSpan,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider, type SpanExporter } from '@opentelemetry/sdk-trace-node';
import type { Logger } from '../log.ts';
import { version } from '../version.ts';
import { propagatorOf } from './propagator-of.ts';
import type { OtlpProtocol, TracingSettings } from './settings.ts';
import type { Facts, Span, Tracer } from './tracer.ts';

/** Milliseconds for what is left to be sent when the process ends. */
const LAST_MS = 3_000;
/** At most one line in so many milliseconds about spans that could not be sent. */
const EVERY_MS = 60_000;

/**
 * A tracer that sends spans by OTLP. The SDK reads its own variables: endpoint, headers, sampler, limits, the queue. That queue is
 * bounded, and what it has no room for is dropped, so a collector that is slow or gone costs spans and nothing else.
 */
export async function openTelemetry({
  protocol,
  propagators,
  instance,
  log,
}: TracingSettings & { readonly instance: string; readonly log: Logger }): Promise<{
  readonly tracer: Tracer;
  stop(): Promise<void>;
}> {
  reportTo(log);
  const ours = { 'service.name': 'amrutam', 'service.version': version, 'service.instance.id': instance };
  const resource = resourceFromAttributes(ours).merge(detectResources({ detectors: [envDetector] }));
  const provider = new NodeTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(await exporterOf(protocol))],
  });
  provider.register({ propagator: await propagatorOf(propagators) });
  const stop = async () => {
    // The timer must not be what keeps a process alive that has sent all.
    await Promise.race([provider.shutdown().catch(() => {}), sleep(LAST_MS, undefined, { ref: false })]);
  };
  return { tracer: tracerOf(provider), stop };
}

async function exporterOf(protocol: OtlpProtocol): Promise<SpanExporter> {
  switch (protocol) {
    case 'grpc':
      return new (await import('@opentelemetry/exporter-trace-otlp-grpc')).OTLPTraceExporter();
    case 'http/json':
      return new (await import('@opentelemetry/exporter-trace-otlp-http')).OTLPTraceExporter();
    case 'http/protobuf':
      return new (await import('@opentelemetry/exporter-trace-otlp-proto')).OTLPTraceExporter();
  }
}

function tracerOf(provider: NodeTracerProvider): Tracer {
  const otel = provider.getTracer('amrutam', version);
  const begin = (name: string, kind: SpanKind, attributes: Facts, parent: Context) =>
    spanOf(otel.startSpan(name, { kind, attributes }, parent), parent);
  const inside = (name: string, kind: SpanKind, facts: Facts) => {
    const parent = context.active();
    return trace.getSpan(parent) && begin(name, kind, facts, parent);
  };
  return {
    call: (name, header, facts) =>
      begin(name, SpanKind.SERVER, facts, propagation.extract(ROOT_CONTEXT, header, HEADERS)),
    statement: (name, facts) => inside(name, SpanKind.CLIENT, facts),
    part: (name, facts) => inside(name, SpanKind.INTERNAL, facts),
    job: (name) => begin(name, SpanKind.INTERNAL, {}, ROOT_CONTEXT),
  };
}

const HEADERS = {
  get: (header: Pick<Headers, 'get'>, name: string) => header.get(name) ?? undefined,
  keys: () => [],
};

function spanOf(span: OtelSpan, parent: Context): Span {
  const here = trace.setSpan(parent, span);
  return {
    traceId: span.spanContext().traceId,
    within: (work) => context.with(here, work),
    tell: (facts) => void span.setAttributes(facts),
    end(failure) {
      if (failure !== undefined) span.setAttribute('error.type', failure).setStatus({ code: SpanStatusCode.ERROR });
      span.end();
    },
  };
}

/** The SDK tells of what fails in words, as often as it does. */
function reportTo(log: Logger): void {
  let toldAt = Number.NEGATIVE_INFINITY;
  const tell = (said: unknown) => {
    if (performance.now() - toldAt < EVERY_MS) return;
    toldAt = performance.now();
    log.warn({ problem: wordsOf(`${said}`).slice(0, 300) }, 'spans could not be sent');
  };
  const quiet = () => {};
  diag.setLogger(
    { error: tell, warn: tell, info: quiet, debug: quiet, verbose: quiet },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}

/** Of an error, which the SDK writes as JSON, what it says. */
function wordsOf(said: string): string {
  try {
    return `${(JSON.parse(said) as { message?: unknown }).message}`;
  } catch {
    return said;
  }
}
