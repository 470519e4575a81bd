import { create, type DescMessage, fromJson, type JsonValue, type MessageShape, toJson } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import type { CallOptions, Protocol } from './protocols.ts';
import { isSideEffectFree, streams } from './protocols.ts';
import { type Answer, answered, refused } from './protocols-answer.ts';
import { pathOf } from './protocols-grpc-js.ts';

/** JSON by fetch, as a script without any library would call; GET only where the contract allows it. */
export function plainJson(port: number, verb: 'POST' | 'GET'): Protocol {
  return {
    name: `JSON by fetch, ${verb}`,
    format: 'json',
    carries: (method) => (verb === 'POST' ? !streams(method) : isSideEffectFree(method)),
    async call(method, message, { headers, timeoutMs, signal }: CallOptions = {}) {
      const json = JSON.stringify(toJson(method.input, create(method.input, message)));
      const url = `http://127.0.0.1:${port}${pathOf(method)}`;
      const timeout = timeoutMs === undefined ? {} : { 'connect-timeout-ms': `${timeoutMs}` };
      const common = { signal: signal ?? null, headers: { ...headers, ...timeout } };
      const response =
        verb === 'POST'
          ? fetch(url, {
              ...common,
              method: verb,
              body: json,
              headers: { ...common.headers, 'content-type': 'application/json' },
            })
          : fetch(`${url}?connect=v1&encoding=json&message=${encodeURIComponent(json)}`, common);
      return response.then((answer) => read(method.output, answer)).catch((error) => cancelled(error));
    },
    close: () => {},
  };
}

/** What an answer in JSON means. */
export async function read<D extends DescMessage>(desc: D, response: Response): Promise<Answer<D>> {
  const { headers } = response;
  const body = (await response.json()) as JsonValue;
  if (response.ok) return answered(fromJson(desc, body) as MessageShape<D>, split(headers));
  const { code, message = '', details = [] } = body as unknown as Refusal;
  const packed = details.map(({ type, value }) => ({ type, value: Buffer.from(value, 'base64') }));
  return refused(codeNumber(code), message, { packed, metadata: headers });
}

interface Refusal {
  readonly code: string;
  readonly message?: string;
  readonly details?: readonly { readonly type: string; readonly value: string }[];
}

function codeNumber(code: string): number {
  const name = code === 'canceled' ? 'CANCELLED' : code.toUpperCase();
  return status[name as keyof typeof status] ?? Number.NaN;
}

/** Connect sends what other protocols have as trailers among the headers. */
function split(all: Headers): { header: Headers; trailer: Headers } {
  const PREFIX = 'trailer-';
  const [trailers, headers] = [...all].reduce<[string[][], string[][]]>(
    ([inTrailer, inHeader], [name, value]) =>
      name.startsWith(PREFIX)
        ? [[...inTrailer, [name.slice(PREFIX.length), value]], inHeader]
        : [inTrailer, [...inHeader, [name, value]]],
    [[], []],
  );
  return { header: new Headers(headers as [string, string][]), trailer: new Headers(trailers as [string, string][]) };
}

function cancelled(error: Error): Answer<never> {
  if (error.name !== 'AbortError') throw error;
  return refused(status.CANCELLED, error.message, { packed: [], metadata: new Headers() });
}
