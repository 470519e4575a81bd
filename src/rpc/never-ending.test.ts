import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Listeners, listeners } from './listeners.fixture.ts';

const METHOD = '/amrutam.availability.v1.AvailabilityService/GetSlot';

let served: Listeners;

beforeAll(async () => {
  served = await listeners({}, { limits: { defaultDeadlineMs: 300, bodyMs: 700 } });
});

afterAll(() => served.close());

describe('a message that never ends is out of time, and its caller is told', () => {
  test.each([
    ['grpc', {}],
    ['grpc', { 'grpc-timeout': '20S' }],
    ['https', {}],
    ['https', { 'grpc-timeout': '20S' }],
  ] as const)('%s over HTTP/2 %j', async (port, timeout) => {
    const session = http2.connect(`${port === 'grpc' ? 'http' : 'https'}://127.0.0.1:${served[port]}`, {
      rejectUnauthorized: false,
    });
    session.on('error', () => {});
    const stream = session.request({
      ':method': 'POST',
      ':path': METHOD,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...timeout,
    });
    let status: unknown;
    const note = (headers: http2.IncomingHttpHeaders) => {
      status = headers['grpc-status'] ?? status;
    };
    stream
      .on('response', note)
      .on('trailers', note)
      .on('error', () => {})
      .resume();
    stream.write(Buffer.alloc(3));
    await once(stream, 'end');
    const { rstCode } = stream;
    session.destroy();
    expect([status, rstCode]).toEqual(['4', http2.constants.NGHTTP2_NO_ERROR]);
    expect(served.log.findLast(({ msg }) => msg === 'call')).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });

  test.each([
    ['application/json', 'content-length: 9\r\n\r\n{', '504', 'deadline_exceeded'],
    ['application/proto', 'transfer-encoding: chunked\r\n\r\n1\r\n\n\r\n', '504', 'deadline_exceeded'],
    ['application/grpc-web+proto', 'content-length: 9\r\n\r\n\0', '200', 'grpc-status: 4'],
    ['application/json', 'connect-timeout-ms: 20000\r\ncontent-length: 9\r\n\r\n{', '504', 'deadline_exceeded'],
  ])('%s over HTTP/1', async (type, rest, status, said) => {
    const socket = net.connect(served.http, '127.0.0.1');
    let answer = '';
    socket.on('data', (bytes) => {
      answer += bytes.toString('latin1');
    });
    socket.write(`POST ${METHOD} HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\n${rest}`);
    await once(socket, 'close');
    expect(answer.slice(9, 12)).toBe(status);
    expect(answer).toContain(said);
  });
});

test('what is no call is refused as an error of Connect, and counted', async () => {
  const ask = async (path: string, init?: RequestInit) => {
    const response = await fetch(`http://127.0.0.1:${served.http}${path}`, init);
    const { code, details } = (await response.json()) as { code: string; details?: { debug: { reason: string } }[] };
    return [response.status, code, details?.[0]?.debug.reason];
  };
  expect(await ask('/nothing')).toEqual([404, 'unimplemented', undefined]);
  expect(await ask(METHOD, { method: 'PUT' })).toEqual([405, 'unimplemented', undefined]);
  expect(await ask(METHOD, { method: 'POST', body: 'x' })).toEqual([415, 'invalid_argument', 'MESSAGE_MALFORMED']);
  const both = await ask('/test.v1.Kinds/Bidi', {
    method: 'POST',
    headers: { 'content-type': 'application/connect+json' },
    body: '',
  });
  expect(both).toEqual([505, 'unimplemented', undefined]);
  expect(served.log.filter(({ msg }) => msg === 'turned away').length).toBeGreaterThan(0);
});
