const HEADER = 'traceparent';
const FORM = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/;
const NONE = '0'.repeat(32);

/** The id of the trace that a call says it belongs to, as W3C writes it; undefined when it names none. */
export function traceIdIn(header: Pick<Headers, 'get'>): string | undefined {
  const given = header.get(HEADER);
  const id = given === null ? undefined : FORM.exec(given)?.[1];
  return id === NONE ? undefined : id;
}
