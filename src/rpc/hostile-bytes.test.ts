import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { createInterface } from 'node:readline';
import tls from 'node:tls';
import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { transports } from './listeners.fixture.ts';

type Ports = Pick<Parameters<typeof transports>[0], 'grpc' | 'http' | 'https'>;
type Port = keyof Ports;

const METHOD = '/amrutam.availability.v1.AvailabilityService/GetSlot';
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

type Rubbish = [port: Port, what: string, bytes: string | Buffer, alpn?: string];

let child: ChildProcessWithoutNullStreams;
let ports: Ports;
let lines: AsyncIterator<string>;
let stderr = '';

beforeAll(async () => {
  child = spawn(process.execPath, ['--no-warnings', `${import.meta.dirname}/hostile-server.fixture.ts`], {
    env: { PATH: process.env.PATH },
  });
  child.stderr.on('data', (bytes) => {
    stderr += bytes;
  });
  lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  ports = JSON.parse((await lines.next()).value);
});

afterAll(() => void child.kill());

/** Sends bytes to a port and waits until it closes, or for a while; what came back. */
async function send(port: Port, bytes: string | Buffer, alpn?: string, patienceMs = 60): Promise<string> {
  const socket = alpn
    ? tls.connect({ port: ports[port], host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: [alpn] })
    : net.connect(ports[port], '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1');
  });
  socket.on('error', () => {});
  socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  await Promise.race([once(socket, 'close'), new Promise((resolve) => setTimeout(resolve, patienceMs))]);
  socket.destroy();
  return answer;
}

/** One HTTP/2 request; its status, or how it was cut. */
async function ask(port: 'grpc' | 'https', headers: http2.OutgoingHttpHeaders, body?: Buffer): Promise<string> {
  const session = http2.connect(`${port === 'grpc' ? 'http' : 'https'}://127.0.0.1:${ports[port]}`, {
    rejectUnauthorized: false,
  });
  session.on('error', () => {});
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': METHOD,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    let status = '';
    const note = (headers: http2.IncomingHttpHeaders) => {
      status = String(headers['grpc-status'] ?? headers[':status'] ?? status);
    };
    stream
      .on('response', note)
      .on('trailers', note)
      .on('error', () => {})
      .resume();
    stream.end(body);
    await Promise.race([once(stream, 'close').catch(() => {}), new Promise((resolve) => setTimeout(resolve, 1500))]);
    return status === '' ? `cut ${stream.rstCode}` : status;
  } finally {
    session.destroy();
  }
}

const frame = (flags: number, length: number, bytes: Buffer) => {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(length >>> 0, 1);
  return Buffer.concat([head, bytes]);
};
const SLOT = Buffer.concat([Buffer.from([10, 36]), Buffer.from('0192f0c4-7e5a-7b3c-8d2e-1f2a3b4c5d6e')]);
const GOOD = frame(0, SLOT.length, SLOT);

test.each<Rubbish>([
  ['grpc', 'nothing but zeros', Buffer.alloc(1000)],
  ['grpc', 'HTTP/1', 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'],
  ['grpc', 'a preface and rubbish', Buffer.concat([Buffer.from(PREFACE), Buffer.alloc(500, 0xee)])],
  [
    'grpc',
    'a preface and a broken header block',
    Buffer.concat([Buffer.from(PREFACE), SETTINGS, Buffer.from([0, 0, 4, 1, 5, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff])]),
  ],
  ['grpc', 'TLS', Buffer.from('16030100c8010000c40303', 'hex')],
  ['http', 'the preface of HTTP/2', PREFACE],
  ['http', 'binary rubbish', Buffer.alloc(1000, 0xfe)],
  ['http', 'TLS', Buffer.from('16030100c8010000c40303', 'hex')],
  ['http', 'a bad host', 'GET / HTTP/1.1\r\nhost: [\r\n\r\n'],
  [
    'http',
    'a bad host for an RPC',
    `POST ${METHOD} HTTP/1.1\r\nhost: [\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`,
  ],
  [
    'http',
    'no host, HTTP/1.0',
    `POST ${METHOD} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`,
  ],
  ['http', 'an absolute address', 'GET http://[::bad/ HTTP/1.1\r\nhost: x\r\n\r\n'],
  ['http', 'two slashes', `POST /${METHOD} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n`],
  ['http', 'OPTIONS *', 'OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n'],
  ['http', 'CONNECT', 'CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n'],
  ['http', 'an upgrade', `GET ${METHOD} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`],
  [
    'http',
    'a negative length',
    `POST ${METHOD} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: -1\r\n\r\n`,
  ],
  ['http', 'two lengths', `POST ${METHOD} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab`],
  [
    'http',
    'a length and chunks',
    `POST ${METHOD} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
  ],
  [
    'http',
    'a broken chunk',
    `POST ${METHOD} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n`,
  ],
  [
    'http',
    'a body that stops',
    `POST ${METHOD} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{`,
  ],
  ['http', 'an expectation', `POST ${METHOD} HTTP/1.1\r\nhost: x\r\nexpect: wonders\r\ncontent-length: 0\r\n\r\n`],
  ['https', 'plain text', 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'],
  ['https', 'a preface and rubbish', Buffer.concat([Buffer.from(PREFACE), Buffer.alloc(500, 0xee)]), 'h2'],
  ['https', 'HTTP/1 where HTTP/2 was agreed', 'GET / HTTP/1.1\r\nhost: x\r\n\r\n', 'h2'],
  ['https', 'HTTP/2 where HTTP/1 was agreed', PREFACE, 'http/1.1'],
  ['https', 'a bad host', 'GET / HTTP/1.1\r\nhost: [\r\n\r\n', 'http/1.1'],
])('%s: %s', async (...[port, , bytes, alpn]: Rubbish) => {
  await send(port, bytes, alpn);
});

test.each([
  ['/%zz', 404],
  ['/__proto__/x', 404],
  ['/constructor', 404],
  ['/toString', 404],
  ['//', 404],
  ['/../../etc/passwd', 404],
  [METHOD, 415],
  [`${METHOD}?connect=v1&encoding=json&message=%7B`, 400],
  [`${METHOD}?connect=v1&encoding=json&message=%`, 400],
  [`${METHOD}?connect=v1&encoding=proto&base64=1&message=!!!`, 400],
  [`${METHOD}?connect=v1&encoding=json&compression=gzip&message=%7B%7D`, 501],
  [`${METHOD}?connect=v1&encoding=rubbish&message=%7B%7D`, 415],
])('GET %s', async (path, status) => {
  expect(await send('http', `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`, undefined, 5_000)).toMatch(
    new RegExp(`^HTTP/1.1 ${status} `),
  );
});

test.each([
  ['application/rubbish', 415],
  ['application/json; charset=latin1', 415],
  ['', 415],
  ['application/grpc-web-text', 415],
  ['application/grpc', 415],
  ['application/connect+json', 415],
  ['\x80\xff', 415],
])('content type %j', async (type, status) => {
  const request = `POST ${METHOD} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: ${type}\r\ncontent-length: 2\r\n\r\n{}`;
  expect(await send('http', request, undefined, 5_000)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
});

test('an address or headers over 16 KiB, HTTP/1', async () => {
  expect(await send('http', `GET /${'x'.repeat(17_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, undefined, 5_000)).toMatch(
    /^HTTP\/1.1 431 /,
  );
  expect(
    await send('http', `GET /livez HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(17_000)}\r\n\r\n`, undefined, 5_000),
  ).toMatch(/^HTTP\/1.1 431 /);
});

test.each<['grpc' | 'https', string, http2.OutgoingHttpHeaders, Buffer | undefined, RegExp]>([
  ['grpc', 'a good call', {}, GOOD, /^0$/],
  ['https', 'a good call', {}, GOOD, /^0$/],
  ['grpc', 'no message', {}, undefined, /^3$/],
  ['https', 'no message', {}, undefined, /^(3|12)$/],
  ['grpc', 'half a frame', {}, GOOD.subarray(0, 20), /^3$/],
  ['https', 'half a frame', {}, GOOD.subarray(0, 20), /^3$/],
  ['grpc', 'half a frame header', {}, GOOD.subarray(0, 3), /^3$/],
  ['grpc', 'a negative length', {}, frame(0, -1, SLOT), /^8$/],
  ['https', 'a negative length', {}, frame(0, -1, SLOT), /^8$/],
  ['grpc', 'unknown flags', {}, frame(0xfe, SLOT.length, SLOT), /^\d+$/],
  ['https', 'unknown flags', {}, frame(0xfe, SLOT.length, SLOT), /^\d+$/],
  ['grpc', 'compressed, with nothing agreed', {}, frame(1, SLOT.length, SLOT), /^\d+$/],
  ['https', 'compressed, with nothing agreed', {}, frame(1, SLOT.length, SLOT), /^3$/],
  ['grpc', 'gzip that is none', { 'grpc-encoding': 'gzip' }, frame(1, SLOT.length, SLOT), /^12$/],
  ['grpc', 'an unknown compression', { 'grpc-encoding': '"rot13' }, frame(1, SLOT.length, SLOT), /^12$/],
  ['https', 'an unknown compression', { 'grpc-encoding': '"rot13' }, frame(1, SLOT.length, SLOT), /^12$/],
  ['grpc', 'two messages', {}, Buffer.concat([GOOD, GOOD]), /^3$/],
  ['https', 'two messages', {}, Buffer.concat([GOOD, GOOD]), /^(3|12)$/],
  ['grpc', 'text that is no UTF-8', {}, frame(0, 4, Buffer.from([10, 2, 0xff, 0xfe])), /^3$/],
  ['https', 'text that is no UTF-8', {}, frame(0, 4, Buffer.from([10, 2, 0xff, 0xfe])), /^3$/],
  ['grpc', 'a rubbish deadline', { 'grpc-timeout': '-1x' }, GOOD, /^3$/],
  ['grpc', 'an endless deadline', { 'grpc-timeout': '99999999H' }, GOOD, /^0$/],
  ['grpc', 'a deadline in thirty days', { 'grpc-timeout': '2592000S' }, GOOD, /^0$/],
  ['https', 'an endless deadline', { 'grpc-timeout': '99999999H' }, GOOD, /^0$/],
  ['grpc', 'broken binary metadata', { 'x-bin': '!!!', 'grpc-status-details-bin': '=' }, GOOD, /^0$/],
  ['grpc', 'metadata that is no text', { authorization: 'Bearer ÿ' }, GOOD, /^(0|16|cut.*)$/],
  ['https', 'metadata that is no text', { authorization: 'Bearer ÿ' }, GOOD, /^16$/],
  ['grpc', 'an unknown path', { ':path': '/__proto__/x' }, GOOD, /^12$/],
  ['https', 'an unknown path', { ':path': '/__proto__/x' }, GOOD, /^404$/],
  ['grpc', 'a path that is no text', { ':path': '/é\u0001' }, GOOD, /^(12|cut.*)$/],
  ['grpc', 'no path', { ':path': '' }, GOOD, /^(12|cut.*)$/],
  ['https', 'a path that is none', { ':path': '//' }, GOOD, /^404$/],
  ['grpc', 'another method', { ':method': 'GET' }, undefined, /^(0|3|cut.*)$/],
  ['grpc', 'HEAD', { ':method': 'HEAD' }, undefined, /^\d+$|^cut/],
  ['https', 'PUT', { ':method': 'PUT' }, GOOD, /^405$/],
  ['grpc', 'no content type', { 'content-type': undefined }, GOOD, /^415$/],
  ['grpc', 'another content type', { 'content-type': 'application/grpc-rubbish' }, GOOD, /^\d+$/],
  ['grpc', 'headers over 16 KiB', { x: 'y'.repeat(17_000) }, GOOD, /^8$/],
  ['https', 'headers over 16 KiB', { x: 'y'.repeat(17_000) }, GOOD, /^8$/],
  ['grpc', 'headers over 64 KiB', { x: 'y'.repeat(70_000) }, GOOD, /^cut/],
  ['grpc', 'too many headers', Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`x${i}`, ''])), GOOD, /^cut/],
  ['https', 'a bad authority', { ':authority': '[' }, GOOD, /^400$/],
])('%s over HTTP/2: %s', async (port, _what, headers, body, expected) => {
  expect(await ask(port, headers, body)).toMatch(expected);
});

describe.each(['grpc', 'https'] as const)('%s', (port) => {
  test('streams reset as soon as they are opened', async () => {
    const session = http2.connect(`${port === 'grpc' ? 'http' : 'https'}://127.0.0.1:${ports[port]}`, {
      rejectUnauthorized: false,
    });
    session.on('error', () => {});
    await once(session, 'connect');
    for (let i = 0; i < 500 && !session.destroyed; i++) {
      const stream = session.request({ ':method': 'POST', ':path': METHOD, 'content-type': 'application/grpc' });
      stream.on('error', () => {});
      stream.close(8);
      if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    session.destroy();
  });

  test('a request whose body never ends is closed', async () => {
    const session = http2.connect(`${port === 'grpc' ? 'http' : 'https'}://127.0.0.1:${ports[port]}`, {
      rejectUnauthorized: false,
    });
    session.on('error', () => {});
    const stream = session.request({ ':method': 'POST', ':path': METHOD, 'content-type': 'application/grpc' });
    stream.on('error', () => {}).resume();
    const trickle = setInterval(() => stream.write(Buffer.alloc(1)), 100);
    await once(stream, 'close').finally(() => clearInterval(trickle));
    session.destroy();
  });
});

test('a request over HTTP/1 whose body never ends is closed', async () => {
  const socket = net.connect(ports.http, '127.0.0.1');
  socket.on('error', () => {}).resume();
  socket.write(`POST ${METHOD} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n`);
  const trickle = setInterval(() => socket.write(' '), 100);
  await once(socket, 'close').finally(() => clearInterval(trickle));
});

test('after all that every port still answers, and nothing was unexpected', async () => {
  const served = { ...ports } as Parameters<typeof transports>[0];
  for (const transport of Object.values(transports(served))) {
    const { slot } = await createClient(AvailabilityService, transport).getSlot({
      slotId: '0192f0c4-7e5a-7b3c-8d2e-1f2a3b4c5d6e',
    });
    expect(slot?.id).toBe('here');
  }
  child.stdin.end();
  expect(JSON.parse((await lines.next()).value)).toEqual([]);
  const [code] = child.exitCode === null ? await once(child, 'exit') : [child.exitCode];
  expect([code, stderr]).toEqual([0, '']);
});
