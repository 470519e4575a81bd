import { gzipSync } from 'node:zlib';
import { callHeaders, FLAG, FRAME, frame, headerBlock, message, preface, word } from './frames.ts';
import { type Line, type LineOptions, openLine } from './line.ts';

/** One kind of hostile client, over one or a few connections. */
export interface Attack {
  readonly name: string;
  /** Which port it is for: native gRPC, or HTTP. */
  readonly port: 'grpc' | 'http';
  /** Says its piece on a line that is open. */
  readonly say: (line: Line) => Promise<void>;
  /** What must have been heard in the end; absent: anything, or nothing. */
  readonly hears?: RegExp;
}

const PATH = '/amrutam.availability.v1.AvailabilityService/GetSlot';
const THOUSANDS = 10_000;
const SLOT = Buffer.concat([Buffer.from([10, 36]), Buffer.from('0192f0c4-7e5a-7b3c-8d2e-1f2a3b4c5d6e')]);

/** HTTP/2 as nobody writes it. */
const FRAMES: readonly Attack[] = [
  flood('settings', () => frame({ type: FRAME.settings })),
  flood('settings of every kind', (i) => frame({ type: FRAME.settings, payload: setting(i % 10, i * 7919) })),
  flood('pings', () => frame({ type: FRAME.ping, payload: Buffer.alloc(8) })),
  flood('priorities', (i) => frame({ type: FRAME.priority, stream: 2 * i + 1, payload: Buffer.alloc(5) })),
  flood('a priority on itself', (i) =>
    frame({ type: FRAME.priority, stream: 2 * i + 1, payload: priority(2 * i + 1) }),
  ),
  flood('windows', () => frame({ type: FRAME.windowUpdate, payload: word(1) })),
  flood('windows over all bounds', () => frame({ type: FRAME.windowUpdate, payload: word(2 ** 31 - 1) })),
  flood('unknown frames', (i) => frame({ type: 20 + (i % 200), payload: Buffer.alloc(10) })),
  flood('data without a byte', () => frame({ type: FRAME.data, stream: 1 }), open(1)),
  flood(
    'continuations',
    () => frame({ type: FRAME.continuation, stream: 1, payload: Buffer.alloc(100, 0x40) }),
    open(1, 0),
  ),
  flood('empty continuations', () => frame({ type: FRAME.continuation, stream: 1 }), open(1, 0)),
  flood('streams made to be reset', (i) =>
    Buffer.concat([open(2 * i + 1), frame({ type: FRAME.windowUpdate, stream: 2 * i + 1, payload: word(0) })]),
  ),
  flood('more streams than agreed', (i) => open(2 * i + 1)),
  flood('tables that grow', (i) => open(2 * i + 1, FLAG.endHeaders | FLAG.endStream, kept(`x${i}`, 'y'.repeat(2_000)))),
  flood('sizes of the table', () => open(1, FLAG.endHeaders, Buffer.from([0x3f, 0xff, 0xff, 0xff, 0xff, 0x07]))),
  once2('streams with even numbers', open(2)),
  once2('a stream twice', Buffer.concat([open(5), open(3), open(5)])),
  once2('a frame over its size', frame({ type: FRAME.data, stream: 1, payload: Buffer.alloc(1_000_000) })),
  once2('trailers with pseudo headers', Buffer.concat([open(1), open(1, 5, headerBlock({ ':path': '/x' }))])),
  once2('headers in capitals', open(1, 5, headerBlock(callHeaders(PATH, { 'X-Y': 'z' })))),
  once2('connection headers', open(1, 5, headerBlock(callHeaders(PATH, { connection: 'close', upgrade: 'h2c' })))),
  once2('CONNECT', open(1, 5, headerBlock({ ':method': 'CONNECT', ':authority': '127.0.0.1:22' }))),
  once2('headers of 60 KiB', open(1, 5, headerBlock(callHeaders(PATH, { x: 'y'.repeat(16_000) })))),
  once2('a goaway from the client', frame({ type: FRAME.goaway, payload: Buffer.alloc(8, 0xff) })),
  once2('a thousand frames in a unary call', call(Buffer.concat(Array.from({ length: 1_000 }, () => message(SLOT))))),
  once2('thousands of gzip bombs in a call', call(bombs(), { 'grpc-encoding': 'gzip' })),
  once2('a time-out that is none', call(message(SLOT), { 'grpc-timeout': '-99999999999999n' })),
  once2('a message without an end', call(message(SLOT, { length: 2 ** 32 - 1 }))),
];

/** HTTP/1 as nobody writes it. */
const TEXTS: readonly Attack[] = [
  text(
    'an upgrade to h2c',
    `GET /livez HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n`,
    /^HTTP\/1.1 200/,
  ),
  text('CONNECT', 'CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: x\r\n\r\n'),
  text(
    'a length and chunks',
    post('content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\n\r\n'),
    /^HTTP\/1.1 400/,
  ),
  text('two lengths', post('content-length: 1\r\ncontent-length: 2\r\n\r\n{}'), /^HTTP\/1.1 400/),
  text('chunks twice', post('transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n'), /^HTTP\/1.1 (400|5)/),
  text('chunks behind a tab', post('transfer-encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n'), /^HTTP\/1.1 4/),
  text('a bare line feed', 'GET /livez HTTP/1.1\nhost: x\n\n', /^HTTP\/1.1 4/),
  text('a space before the colon', 'GET /livez HTTP/1.1\r\nhost : x\r\n\r\n', /^HTTP\/1.1 400/),
  text('a folded header', 'GET /livez HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n'),
  text('no host', 'GET /livez HTTP/1.1\r\n\r\n', /^HTTP\/1.1 400/),
  text('a host that is none', post('content-length: 2\r\n\r\n{}').replace('host: x', 'host: ['), /MESSAGE_MALFORMED/),
  text('an address of 100 KB', `GET /${'x'.repeat(100_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, /^HTTP\/1.1 431/),
  text('U+0000 in the address', 'GET /livez%00 HTTP/1.1\r\nhost: x\r\n\r\n', /^HTTP\/1.1 404/),
  text('a way out of the folder', 'GET /../../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n', /^HTTP\/1.1 404/),
  text('an absolute address', `GET http://169.254.169.254/latest HTTP/1.1\r\nhost: x\r\n\r\n`, /^HTTP\/1.1 404/),
  text(
    'two hundred requests at once',
    `${'GET /livez HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(200)}GET /last HTTP/1.1\r\nhost: x\r\n\r\n`,
    /HTTP\/1.1 404/,
  ),
  text('thousands of headers', `GET /livez HTTP/1.1\r\nhost: x\r\n${'a: b\r\n'.repeat(2_000)}\r\n`),
  text('a chunk without an end', post(`transfer-encoding: chunked\r\n\r\n${'f'.repeat(400_000)}`)),
  text('endless chunk extensions', post(`transfer-encoding: chunked\r\n\r\n1;${'x'.repeat(100_000)}\r\n`)),
  text('a message of 10 MB', post(`content-length: 10000000\r\n\r\n${'{"a":'.repeat(2_000_000)}`), /MESSAGE_TOO_LARGE/),
  text('gzip that nobody asked for', post('content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}'), /^HTTP\/1.1 501/),
];

/** All of them. */
export const ATTACKS: readonly Attack[] = [...FRAMES, ...TEXTS];

/** How long an attack may go on, and an answer take. */
const ATTACK_MS = 5_000;

/** Makes one attack. Throws when what had to be heard was not. */
export async function attack({ name, say, hears }: Attack, options: LineOptions): Promise<void> {
  const line = await openLine(options);
  await Promise.race([say(line), line.closedWithin(ATTACK_MS)]);
  for (let waited = 0; waited < ATTACK_MS && (hears ? !hears.test(line.heard()) : waited < 300); waited += 50) {
    if (await line.closedWithin(50)) break;
  }
  line.hangUp();
  if (hears && !hears.test(line.heard()))
    throw new Error(`${name}: heard ${JSON.stringify(line.heard().slice(0, 200))}`);
}

function flood(name: string, next: (i: number) => Buffer, first: Buffer = Buffer.alloc(0)): Attack {
  const say = async (line: Line) => {
    await line.say(Buffer.concat([preface(), first]));
    for (let i = 0; i < THOUSANDS && !line.socket.destroyed; i += 100) {
      await line.say(Buffer.concat(Array.from({ length: 100 }, (_, k) => next(i + k))));
    }
  };
  return { name: `a flood: ${name}`, port: 'grpc', say };
}

function once2(name: string, bytes: Buffer): Attack {
  return { name, port: 'grpc', say: (line) => line.say(Buffer.concat([preface(), bytes])) };
}

function text(name: string, words: string, hears?: RegExp): Attack {
  return { name, port: 'http', say: (line) => line.say(words), ...(hears && { hears }) };
}

function post(rest: string): string {
  return `POST ${PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${rest}`;
}

function open(stream: number, flags: number = FLAG.endHeaders, block = headerBlock(callHeaders(PATH))): Buffer {
  return frame({ type: FRAME.headers, flags, stream, payload: block });
}

function call(body: Buffer, headers: Readonly<Record<string, string>> = {}): Buffer {
  const parts: Buffer[] = [open(1, FLAG.endHeaders, headerBlock(callHeaders(PATH, headers)))];
  for (let at = 0; at < body.length; at += 16_000) {
    parts.push(frame({ type: FRAME.data, stream: 1, payload: body.subarray(at, at + 16_000) }));
  }
  return Buffer.concat([...parts, frame({ type: FRAME.data, flags: FLAG.endStream, stream: 1 })]);
}

function bombs(): Buffer {
  const bomb = message(gzipSync(Buffer.alloc(60_000)), { flag: 1 });
  return Buffer.concat(Array.from({ length: 500 }, () => bomb));
}

function setting(name: number, value: number): Buffer {
  return Buffer.concat([Buffer.from([0, name]), word(value)]);
}

/** Depends on `stream`, with the least weight. */
function priority(stream: number): Buffer {
  return Buffer.concat([word(stream), Buffer.alloc(1)]);
}

/** A header block of a call whose last header is kept in the table. */
function kept(name: string, value: string): Buffer {
  const literal = headerBlock({ [name]: value });
  literal.writeUInt8(0x40, 0);
  return Buffer.concat([headerBlock(callHeaders(PATH)), literal]);
}
