import { create, type DescMethod, type DescMethodStreaming, type Message } from '@bufbuild/protobuf';
import { BytesValueSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type HandlerContext, type Transport } from '@connectrpc/connect';
import { createAsyncIterable } from '@connectrpc/connect/protocol';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { Fault } from '../fault.ts';
import { Kinds } from './kinds.fixture.ts';
import { type Line, type Listeners, listeners, transports } from './listeners.fixture.ts';

type Item = Message & { number: number; text: string };
type Items = AsyncIterable<Item>;

const METHODS = Object.fromEntries(Kinds.methods.filter(isStreaming).map((method) => [method.name, method]));

function isStreaming(method: DescMethod): method is DescMethodStreaming {
  return method.methodKind !== 'unary';
}

let served: Listeners;
let clients: Record<string, Transport>;
let finished: string[] = [];

/** Text of a request says what its handler does. */
const kinds = {
  async *server({ text, number }: Item, ctx: HandlerContext) {
    ctx.responseHeader.set('x-first', 'yes');
    try {
      for (let i = 1; i <= number; i++) {
        if (text === 'fault' && i === 3) throw new Fault('OVERLOADED', 'too much');
        if (text === 'bug' && i === 3) throw new Error('secret');
        yield { number: i, text: text === 'big' ? 'x'.repeat(10_000) : '' };
        if (text === 'slow') await new Promise((resolve) => setTimeout(resolve, 10));
      }
      ctx.responseTrailer.set('x-sent', String(number));
      if (text === 'stay') await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve));
    } finally {
      finished.push(text);
    }
  },
  async client(items: Items, ctx: HandlerContext) {
    ctx.responseHeader.set('x-first', 'yes');
    let sum = 0;
    for await (const { number, text } of items) {
      sum += number;
      if (text === 'enough') break;
    }
    ctx.responseTrailer.set('x-sent', '1');
    return { number: sum };
  },
  async *bidi(items: Items) {
    for await (const { number } of items) yield { number: number * 2 };
  },
};

beforeAll(async () => {
  served = await listeners({ kinds: kinds as never });
  clients = transports(served);
});

afterAll(() => served.close());

const item = (number: number, text = '') => ({ number, text });

async function stream(
  name: string,
  method: string,
  input: AsyncIterable<object>,
  options: { headers?: Record<string, string>; signal?: AbortSignal } = {},
) {
  const desc = METHODS[method];
  if (!desc) throw new Error('no such stream');
  const response = await clients[name]?.stream(desc, options.signal, undefined, options.headers, input as never);
  if (!response) throw new Error(`no client for ${name}`);
  return response as typeof response & { message: Items };
}

async function collect(name: string, method: string, items: object[], headers?: Record<string, string>) {
  const numbers: number[] = [];
  try {
    const { message, header, trailer } = await stream(
      name,
      method,
      createAsyncIterable(items.map((one) => create(METHODS[method]?.input ?? BytesValueSchema, one))),
      { headers },
    );
    for await (const { number } of message) numbers.push(number);
    return { numbers, header, trailer, error: new ConnectError('none', Code.Unknown) };
  } catch (error) {
    return { numbers, error: ConnectError.from(error), header: new Headers(), trailer: new Headers() };
  }
}

async function lineOf(id: string): Promise<Line | undefined> {
  for (let i = 0; i < 100; i++) {
    const line = served.log.find(({ requestId, msg }) => requestId === id && msg === 'call');
    if (line) return line;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return undefined;
}

describe.each(['gRPC', 'gRPC-Web', 'Connect JSON', 'Connect binary', 'gRPC, TLS', 'Connect, TLS'])(
  'server stream, %s',
  (name) => {
    test('every item in order, with headers and trailers, one line in the log', async () => {
      const { numbers, header, trailer } = await collect(name, 'Server', [item(5)], {
        'x-request-id': `five.${clients[name] ? name.replace(/\W/g, '') : ''}`,
      });
      expect(numbers).toEqual([1, 2, 3, 4, 5]);
      expect([header.get('x-first'), trailer.get('x-sent')]).toEqual(['yes', '5']);
      expect(await lineOf(header.get('x-request-id') ?? '')).toMatchObject({ code: 'OK' });
    });

    test('a Fault after some items', async () => {
      const { numbers, error } = await collect(name, 'Server', [item(5, 'fault')], { 'x-request-id': 'fault' });
      expect(numbers).toEqual([1, 2]);
      expect([error.code, error.rawMessage]).toEqual([Code.Unavailable, 'too much']);
      expect(error.findDetails(ErrorInfoSchema)[0]?.reason).toBe('OVERLOADED');
    });

    test('an unexpected error after some items', async () => {
      const { error } = await collect(name, 'Server', [item(5, 'bug')]);
      expect([error.code, error.rawMessage, error.details]).toEqual([Code.Internal, 'internal error', []]);
    });

    test('an item may be as large as it likes, and the reader slow', async () => {
      const { numbers } = await collect(name, 'Server', [item(200, 'big')]);
      expect(numbers).toHaveLength(200);
    });

    test('a reader that leaves ends the handler, and is logged as cancelled', async () => {
      finished = [];
      const controller = new AbortController();
      const id = `left-${name.replace(/\W/g, '')}`;
      const read = async () => {
        const { message } = await stream(
          name,
          'Server',
          createAsyncIterable([create(METHODS.Server?.input ?? BytesValueSchema, item(1000, 'slow'))]),
          {
            signal: controller.signal,
            headers: { 'x-request-id': id },
          },
        );
        for await (const { number } of message) if (number === 3) controller.abort();
      };
      await expect(read()).rejects.toMatchObject({ code: Code.Canceled });
      expect(await lineOf(id)).toMatchObject({ code: 'CANCELLED', level: 'info' });
      while (finished.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(finished).toEqual(['slow']);
    });

    test('a deadline holds for a stream if the caller sets one', async () => {
      const { error, numbers } = await collect(name, 'Server', [item(1000, 'slow')], {
        'grpc-timeout': '100m',
        'connect-timeout-ms': '100',
      });
      expect(error.findDetails(ErrorInfoSchema)[0]?.reason).toBe('DEADLINE_EXCEEDED');
      expect(numbers.length).toBeGreaterThan(1);
    });

    test('a malformed request', async () => {
      const method = { ...METHODS.Server, input: BytesValueSchema } as DescMethodStreaming;
      const call = async () => {
        const response = await clients[name]?.stream(
          method,
          undefined,
          undefined,
          undefined,
          createAsyncIterable([create(BytesValueSchema, { value: Uint8Array.of(1) })]) as never,
        );
        for await (const _ of response?.message ?? []);
      };
      await expect(call()).rejects.toMatchObject({
        code: Code.InvalidArgument,
        rawMessage: 'the request is malformed',
      });
    });
  },
);

describe.each(['gRPC', 'gRPC, TLS'])('client and bidi streams, %s', (name) => {
  test('all items of a client arrive', async () => {
    const { numbers, header, trailer } = await collect(name, 'Client', [item(1), item(2), item(3)]);
    expect(numbers).toEqual([6]);
    expect([header.get('x-first'), trailer.get('x-sent')]).toEqual(['yes', '1']);
  });

  test('a handler may answer before it has read all', async () => {
    const { numbers } = await collect(name, 'Client', [item(1, 'enough'), item(2)]);
    expect(numbers).toEqual([1]);
  });

  test('both ways at once', async () => {
    const { numbers } = await collect(name, 'Bidi', [item(1), item(2), item(3)]);
    expect(numbers).toEqual([2, 4, 6]);
  });

  test('an item that is too large, or malformed, ends the call with its reason', async () => {
    const large = await collect(name, 'Bidi', [item(1), item(2, 'x'.repeat(70_000))]);
    expect(large.error.findDetails(ErrorInfoSchema)[0]?.reason).toBe('MESSAGE_TOO_LARGE');
    const broken = await collect(name, 'Client', [item(1, 'a\0b')]);
    expect(broken.error).toMatchObject({ code: Code.InvalidArgument, rawMessage: 'text: is not plain text' });
  });
});
