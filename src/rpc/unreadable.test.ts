import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Listeners, listeners } from './listeners.fixture.ts';

let served: Listeners;

beforeAll(async () => {
  served = await listeners({}, { limits: { bodyMs: 300 } });
});

afterAll(() => served.close());

async function send(port: 'http' | 'https', text: string): Promise<string> {
  const socket =
    port === 'http'
      ? net.connect(served.http, '127.0.0.1')
      : tls.connect({ port: served.https, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] });
  let answer = '';
  socket
    .on('error', () => {})
    .on('data', (bytes: Buffer) => {
      answer += bytes.toString('latin1');
    });
  socket.write(text);
  await once(socket, 'close');
  return answer;
}

describe.each(['http', 'https'] as const)('%s', (port) => {
  test.each([
    ['GET / HTTP/9.9\r\n\r\n', /^HTTP\/1.1 400 .*"invalid_argument".*"MESSAGE_MALFORMED"/s],
    [`GET / HTTP/1.1\r\nx: ${'x'.repeat(17_000)}\r\n\r\n`, /^HTTP\/1.1 431 .*"MESSAGE_TOO_LARGE"/s],
    ['GET / HTTP/1.1\r\nhost: x\r\n', /^HTTP\/1.1 408 .*"DEADLINE_EXCEEDED"/s],
  ])('%.20j is refused as an error of Connect, and counted', async (text, answer) => {
    expect(await send(port, text)).toMatch(answer);
    expect(served.log.some(({ msg }) => msg === 'turned away')).toBe(true);
  });
});
