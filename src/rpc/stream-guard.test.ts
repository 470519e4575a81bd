import http2 from 'node:http2';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Kinds } from './kinds.fixture.ts';
import { type Listeners, listeners } from './listeners.fixture.ts';

let served: Listeners;
let ended: string[] = [];

beforeAll(async () => {
  served = await listeners(
    {
      kinds: {
        unary: () => ({ text: 'x'.repeat(1_000_000) }),
        async *server({ text }: { text: string }) {
          try {
            yield { number: 1 };
            if (text === 'quiet') await new Promise((resolve) => setTimeout(resolve, 600));
            for (let i = 0; text === 'flood' && i < 100; i++) yield { text: 'x'.repeat(100_000) };
          } finally {
            ended.push(text);
          }
        },
      } as never,
    },
    { limits: { stillMs: 200 } },
  );
});

afterAll(() => served.close());

/** Asks, and reads nothing of the answer unless told to; how the stream ended, and after how long. */
async function ask(port: 'grpc' | 'https', method: string, text: string, read: boolean) {
  const session = http2.connect(`${port === 'grpc' ? 'http' : 'https'}://127.0.0.1:${served[port]}`, {
    rejectUnauthorized: false,
  });
  session.on('error', () => {});
  const stream = session.request({
    ':method': 'POST',
    ':path': `/test.v1.Kinds/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  const startedAt = performance.now();
  stream.on('error', () => {});
  if (read) stream.resume();
  const input = Kinds.methods[0]?.input;
  if (!input) throw new Error('the fixture is broken');
  const bytes = toBinary(input, create(input, { text } as never));
  const frame = Buffer.concat([Buffer.alloc(5), bytes]);
  frame.writeUInt32BE(bytes.length, 1);
  stream.end(frame);
  await new Promise((resolve) => stream.once('aborted', resolve).once('close', resolve));
  const [code, ms] = [stream.rstCode, performance.now() - startedAt];
  session.destroy();
  return { code, ms };
}

describe.each(['grpc', 'https'] as const)('%s', (port) => {
  test.each([
    ['Unary', ''],
    ['Server', 'flood'],
  ])('%s: an answer that nobody reads is dropped', async (method, text) => {
    ended = [];
    const { code, ms } = await ask(port, method, text, false);
    expect(code).toBe(http2.constants.NGHTTP2_CANCEL);
    expect(ms).toBeLessThan(2_000);
    if (text !== '') expect(ended).toEqual([text]);
  });

  test('a quiet stream stays', async () => {
    const { code, ms } = await ask(port, 'Server', 'quiet', true);
    expect(code).toBe(http2.constants.NGHTTP2_NO_ERROR);
    expect(ms).toBeGreaterThan(500);
  });
});
