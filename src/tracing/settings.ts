import { ConfigError, type Environment, list, oneOf, optional, type Reader, whole, wrong } from '../variables.ts';

/** How spans travel to a collector; the SDK's own variables say the rest. */
export interface TracingSettings {
  readonly protocol: OtlpProtocol;
  /** How calls tell which trace they belong to; without any each begins its own. */
  readonly propagators: readonly Propagator[];
}

export type OtlpProtocol = (typeof OTLP_PROTOCOLS)[number];

export type Propagator = (typeof PROPAGATORS)[number];

const PROPAGATORS = ['tracecontext', 'baggage', 'b3', 'b3multi', 'jaeger'] as const;
const OTLP_PROTOCOLS = ['http/protobuf', 'http/json', 'grpc'] as const;
const RATIO_SAMPLERS = ['traceidratio', 'parentbased_traceidratio'];
const SAMPLERS = ['always_on', 'always_off', 'parentbased_always_on', 'parentbased_always_off', ...RATIO_SAMPLERS];
/** What the SDK takes numbers from, and the least they may be. */
const OTEL_NUMBERS = {
  OTEL_EXPORTER_OTLP_TIMEOUT: 1,
  OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: 1,
  OTEL_BSP_SCHEDULE_DELAY: 0,
  OTEL_BSP_EXPORT_TIMEOUT: 1,
  OTEL_BSP_MAX_QUEUE_SIZE: 1,
  OTEL_BSP_MAX_EXPORT_BATCH_SIZE: 1,
  OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: 0,
  OTEL_ATTRIBUTE_COUNT_LIMIT: 0,
  OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: 0,
  OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: 0,
  OTEL_SPAN_EVENT_COUNT_LIMIT: 0,
  OTEL_SPAN_LINK_COUNT_LIMIT: 0,
  OTEL_SPAN_ATTRIBUTE_PER_EVENT_COUNT_LIMIT: 0,
  OTEL_SPAN_ATTRIBUTE_PER_LINK_COUNT_LIMIT: 0,
};
/** More milliseconds than these no timer takes. */
const MOST_OTEL = 2 ** 31 - 1;

/**
 * What the environment says of tracing; undefined: nothing is traced. The SDK reads its variables by itself, and goes on with a
 * default where one can't be understood: those are refused here. Throws ConfigError.
 */
export function tracingOf(env: Environment): TracingSettings | undefined {
  const endpoints = ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'];
  const given = endpoints.filter((name) => optional(env, name, httpUrl) !== undefined);
  const disabled = optional(env, 'OTEL_SDK_DISABLED', oneOf(['true', 'false'])) === 'true';
  const protocols = ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'];
  const [protocol = 'http/protobuf'] = protocols.flatMap((name) => optional(env, name, oneOf(OTLP_PROTOCOLS)) ?? []);
  const sampler = optional(env, 'OTEL_TRACES_SAMPLER', oneOf(SAMPLERS));
  if (RATIO_SAMPLERS.includes(sampler ?? '')) optional(env, 'OTEL_TRACES_SAMPLER_ARG', share);
  for (const [name, least] of Object.entries(OTEL_NUMBERS)) optional(env, name, whole(least, MOST_OTEL));
  for (const name of ['OTEL_EXPORTER_OTLP_COMPRESSION', 'OTEL_EXPORTER_OTLP_TRACES_COMPRESSION'])
    optional(env, name, oneOf(['gzip', 'none']));
  const exporter = optional(env, 'OTEL_TRACES_EXPORTER', oneOf(['otlp', 'none']));
  const propagators = optional(env, 'OTEL_PROPAGATORS', propagatorList) ?? ['tracecontext', 'baggage'];
  return given.length === 0 || disabled || exporter === 'none' ? undefined : { protocol, propagators };
}

const httpUrl: Reader<string> = (value, name) => {
  // The value may hold a password and is not shown.
  if (!URL.canParse(value) || !/^https?:$/.test(new URL(value).protocol))
    throw new ConfigError(`${name} is not a URL that can be read: it must look like http://collector:4318`);
  return value;
};

const propagatorList: Reader<readonly Propagator[]> = (value, name) =>
  value === 'none' ? [] : list(oneOf(PROPAGATORS))(value, name);

const share: Reader<number> = (value, name) => {
  const number = Number(value);
  if (!(number >= 0 && number <= 1)) throw wrong(name, value, 'a number from 0 to 1');
  return number;
};
