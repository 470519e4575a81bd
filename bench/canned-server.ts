import net from 'node:net';
import { FLAG, FRAME, frame, headerBlock, message, word } from '../faults/abuse/frames.ts';
import { frameReader } from './frame-reader.ts';

// What the load generator could do if servers cost nothing: answers each request on HTTP/2 with frames made before, and
// looks at nothing of it but its end. Argument: bytes of the answer. A process of its own; says `{"grpcPort":…}`.

const PREFACE = 24;
const WINDOW = 0x7fff_ffff;

const body = message(new Uint8Array(Number(process.argv[2] ?? 0)));
const head = headerBlock({ ':status': '200', 'content-type': 'application/grpc' });
const canned = [
  frame({ type: FRAME.headers, flags: FLAG.endHeaders, payload: head }),
  frame({ type: FRAME.data, payload: body }),
  frame({
    type: FRAME.headers,
    flags: FLAG.endHeaders | FLAG.endStream,
    payload: headerBlock({ 'grpc-status': '0' }),
  }),
];
const whole = Buffer.concat(canned);
const streamAt = canned.map((_, i) => canned.slice(0, i).reduce((sum, { length }) => sum + length, 0) + 5);

function answerFor(stream: number): Buffer {
  const answer = Buffer.from(whole);
  for (const at of streamAt) answer.writeUInt32BE(stream, at);
  return answer;
}

const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {});
  socket.write(frame({ type: FRAME.settings }));
  socket.write(frame({ type: FRAME.windowUpdate, payload: word(WINDOW - 65_535) }));
  let answers: Buffer[] = [];
  const read = frameReader((type, flags, stream) => {
    if (type === FRAME.settings && !(flags & FLAG.ack)) answers.push(frame({ type: FRAME.settings, flags: FLAG.ack }));
    const ends = (type === FRAME.data || type === FRAME.headers) && flags & FLAG.endStream;
    if (ends) answers.push(answerFor(stream));
  });
  let skipped = 0;
  socket.on('data', (bytes) => {
    const skip = Math.min(PREFACE - skipped, bytes.length);
    skipped += skip;
    read(bytes.subarray(skip));
    if (answers.length) socket.write(Buffer.concat(answers));
    answers = [];
  });
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ grpcPort: (server.address() as net.AddressInfo).port })}\n`);
});
process.stdin.resume().once('end', () => process.exit());
