/** What a span tells beside its name. Never a value of a statement or of a message. */
export type Facts = Readonly<Record<string, string | number>>;

/** Something that takes time, in a trace. */
export interface Span {
  readonly traceId: string;
  /** Runs `work` so that what it begins belongs to this. */
  within<T>(work: () => T): T;
  tell(facts: Facts): void;
  /** It is over. `failure` names what went wrong, in a word of ours or of the driver. */
  end(failure?: string): void;
}

/** Where spans go. */
export interface Tracer {
  /** A call, which belongs to the trace that its headers name. */
  call(name: string, header: Pick<Headers, 'get'>, facts: Facts): Span;
  /** A statement, sent to the database; undefined where it belongs to nothing, such as a look five times a second. */
  statement(name: string, facts: Facts): Span | undefined;
  /** A part of what goes on; undefined where it belongs to nothing. */
  part(name: string, facts: Facts): Span | undefined;
  /** Work that nobody has called for: a trace of its own. */
  job(name: string): Span;
}

let current: Tracer | undefined;

/** Has spans go to `tracer` from now on; to nobody before, and then nothing is made of them. */
export function traceWith(tracer: Tracer | undefined): void {
  current = tracer;
}

/** Where spans go; undefined: nowhere. */
export function tracer(): Tracer | undefined {
  return current;
}

/** Runs a background job in a span of its own. */
export function inJob<T>(name: string, work: () => Promise<T>): Promise<T> {
  return within(current?.job(name), work);
}

/** Runs `work` as long as `span` lasts. */
export async function within<T>(span: Span | undefined, work: () => Promise<T>): Promise<T> {
  if (!span) return work();
  let failure: string | undefined;
  try {
    return await span.within(work);
  } catch (error) {
    failure = failureOf(error);
    throw error;
  } finally {
    span.end(failure);
  }
}

/** The reason of a refusal, the SQLSTATE of a driver's error, or the kind of error: the words of errors may quote what people wrote. */
export function failureOf(error: unknown): string {
  const { reason, code, name } = (error ?? {}) as { reason?: unknown; code?: unknown; name?: unknown };
  const words = [reason, code, name].filter((word) => typeof word === 'string');
  return words.find((word) => /^\w{1,64}$/.test(word)) ?? 'error';
}
