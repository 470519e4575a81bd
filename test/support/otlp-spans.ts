import { BinaryReader } from '@bufbuild/protobuf/wire';

/** A span as a collector gets it. Ids are in hexadecimal, as traceparent has them. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the first of a trace. */
  readonly parentSpanId: string;
  readonly name: string;
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** 0 unset, 1 ok, 2 error. */
  readonly status: number;
  /** Attributes of whoever has sent it. */
  readonly resource: Readonly<Record<string, unknown>>;
}

/** The spans of an opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest. */
export function spansOfBytes(bytes: Uint8Array): ReceivedSpan[] {
  return messages(bytes, 1).flatMap((resourceSpans) => {
    const resource = attributesOf(messages(resourceSpans, 1)[0] ?? NONE, 1);
    const spans = messages(resourceSpans, 2).flatMap((scopeSpans) => messages(scopeSpans, 2));
    return spans.map((span) => ({ ...spanOf(span), resource }));
  });
}

/** The same of its JSON form. */
export function spansOfJson(text: string): ReceivedSpan[] {
  const { resourceSpans } = JSON.parse(text) as { resourceSpans: JsonResourceSpans[] };
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans
      .flatMap(({ spans }) => spans)
      .map(({ parentSpanId = '', attributes, status, ...span }) => ({
        ...span,
        parentSpanId,
        attributes: jsonAttributes(attributes),
        status: status.code ?? 0,
        resource: jsonAttributes(resource.attributes),
      })),
  );
}

interface JsonAttribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}
interface JsonResourceSpans {
  readonly resource: { readonly attributes: readonly JsonAttribute[] };
  readonly scopeSpans: readonly {
    readonly spans: readonly (Omit<ReceivedSpan, 'attributes' | 'status' | 'resource'> & {
      readonly attributes: readonly JsonAttribute[];
      readonly status: { readonly code?: number };
    })[];
  }[];
}

function jsonAttributes(attributes: readonly JsonAttribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}

type Field = readonly [number: number, value: unknown];
const NONE = new Uint8Array();
const [VARINT, FIXED64, LENGTH] = [0, 1, 2];

function fields(bytes: Uint8Array): Field[] {
  const reader = new BinaryReader(bytes);
  const found: Field[] = [];
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (type === VARINT) found.push([number, Number(reader.uint64())]);
    else if (type === FIXED64) found.push([number, reader.double()]);
    else if (type === LENGTH) found.push([number, reader.bytes()]);
    else reader.skip(type, number);
  }
  return found;
}

function messages(bytes: Uint8Array, number: number): Uint8Array[] {
  return fields(bytes).flatMap(([field, value]) => (field === number ? [value as Uint8Array] : []));
}

function attributesOf(bytes: Uint8Array, number: number): Record<string, unknown> {
  const pairs = messages(bytes, number).map((pair) => {
    const [[type, value] = [0, undefined]] = fields(messages(pair, 2)[0] ?? NONE);
    return [textOf(messages(pair, 1)[0]), type === 1 ? textOf(value as Uint8Array) : value];
  });
  return Object.fromEntries(pairs);
}

function spanOf(bytes: Uint8Array): Omit<ReceivedSpan, 'resource'> {
  const all = new Map(fields(bytes));
  const hex = (field: number) => Buffer.from((all.get(field) as Uint8Array) ?? NONE).toString('hex');
  return {
    traceId: hex(1),
    spanId: hex(2),
    parentSpanId: hex(4),
    name: textOf(all.get(5) as Uint8Array),
    kind: all.get(6) as number,
    attributes: attributesOf(bytes, 9),
    status: (new Map(fields((all.get(15) as Uint8Array) ?? NONE)).get(3) as number) ?? 0,
  };
}

function textOf(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? NONE).toString();
}
