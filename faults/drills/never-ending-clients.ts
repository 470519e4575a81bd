import http2 from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { sql } from '../../src/db/sql.ts';
import { forkFor, rows } from '../../src/db/statement.ts';
import { LIMITS } from '../../src/rpc/limits.ts';
import { people } from '../../test/support/people.ts';
import { callHeaders, FLAG, FRAME, frame, headerBlock, message, preface } from '../abuse/frames.ts';
import { type Line, openLine } from '../abuse/line.ts';
import { besiege, ENEMY, type Siege } from '../abuse/siege.ts';
import { vitalsOf } from '../abuse/vitals.ts';
import type { Drill } from '../drill.ts';

const { searchDoctors } = AvailabilityService.method;
const PATH = `/${searchDoctors.parent.typeName}/${searchDoctors.name}`;
const DOCTORS = 120;
const CLIENTS = 50;
const READERS = 20;
/** What answers that nobody reads may add to an instance: the limit, what was on its way, and V8's room. */
const UNREAD_MB = 64 + 280;
/** Of those that don't fit into the limit, far less are dropped only where nobody drops any. */
const FEWEST_CUT = 200;
/** After which everybody has been told or closed: the body's limit, and some for a busy machine. */
const ALL_ENDED_MS = LIMITS.bodyMs + 10_000;

export const neverEndingClients: Drill = {
  name: 'never-ending-clients',
  story: 'heads and bodies that never end on both ports, and 2,000 large answers that nobody reads',
  breaks: [
    {
      file: 'src/rpc/grpc-intake.ts',
      from: 'late = setTimeout(() => end(outOfTime()), messageMs).unref();',
      to: 'late = undefined;',
      means: 'a body that never ends on the gRPC port is cut without an answer',
    },
    {
      file: 'src/rpc/unread-budget.ts',
      from: 'if (sum <= most) return;\n    waiting.sort',
      to: 'if (sum >= 0) return;\n    waiting.sort',
      means: 'answers that nobody reads pile up',
    },
    {
      file: 'src/rpc/http-listener.ts',
      from: 'headersTimeout: Math.min(10_000, limits.bodyMs),\n    requestTimeout: limits.bodyMs + TOLD_MS,',
      to: 'headersTimeout: 0,\n    requestTimeout: 0,',
      means: 'a head may take for ever over HTTP/1',
    },
  ],
  run: (stage) => besiege(stage, async (siege) => [await neverRead(siege), await neverEnd(siege)]),
};

/** Every connection asks a hundred times and has a window of no bytes. */
async function neverRead({ service, clinic, stage }: Siege): Promise<string> {
  await people(clinic, 'DOCTOR', DOCTORS);
  await rows(forkFor(clinic.orm), sql`UPDATE doctor SET bio = repeat('x', 2000)`);
  const before = vitalsOf(service.pid).rssMb;
  const ask = message(toBinary(searchDoctors.input, create(searchDoctors.input, { pageSize: DOCTORS })));
  const lines: Line[] = [];
  for (let i = 0; i < READERS; i++) {
    const line = await openLine({ port: service.grpcPort, from: ENEMY });
    await line.say(preface([[4, 0]]));
    for (let stream = 1; stream < 200; stream += 2) {
      await line.say(call(stream, ask, FLAG.endStream));
      if (stream % 20 === 1) await sleep(50);
    }
    lines.push(line);
  }
  await sleep(3_000);
  const cut = lines.reduce((sum, line) => sum + line.resets(http2.constants.NGHTTP2_CANCEL), 0);
  const { peakMb } = vitalsOf(service.pid);
  stage.say(
    `${READERS * 100} answers of ${DOCTORS * 2} KB were asked and not read, ${cut} were dropped: ${before} -> ${peakMb} MB at most`,
  );
  for (const line of lines) line.hangUp();
  if (cut < FEWEST_CUT) throw new Error(`only ${cut} of ${READERS * 100} unread answers were dropped`);
  if (peakMb > before + UNREAD_MB) throw new Error(`unread answers took ${peakMb - before} MB`);
  return `unread answers ${before} -> ${peakMb} MB`;
}

/** Somebody who asks and never comes to an end. */
type Asker = Pick<Line, 'heard' | 'say' | 'hangUp'>;

/** What each kind of client must have heard when it is over. */
const KINDS: readonly (readonly [what: string, open: (siege: Siege) => Promise<Asker>, told: RegExp | undefined])[] = [
  ['gRPC bodies', async ({ service }) => grpcBody(service.grpcPort), /"grpc-status":"4"/],
  [
    'JSON bodies',
    ({ service }) => begin(service.httpPort, post('content-length: 1000\r\n\r\n{')),
    /504.*deadline_exceeded/s,
  ],
  [
    'chunks',
    ({ service }) => begin(service.httpPort, post('transfer-encoding: chunked\r\n\r\n1\r\n{\r\n')),
    /deadline_exceeded/,
  ],
  ['HTTP heads', ({ service }) => begin(service.httpPort, 'POST / HTTP/1.1\r\nhost: x\r\n'), /^HTTP\/1.1 408/],
  ['half frames', ({ service }) => begin(service.grpcPort, preface(), Buffer.from([0, 64, 0, 0])), undefined],
];

async function neverEnd(siege: Siege): Promise<string> {
  const told = await Promise.all(
    KINDS.map(async ([what, open, wanted]) => {
      const lines = await Promise.all(Array.from({ length: CLIENTS }, () => open(siege)));
      const trickle = setInterval(() => {
        for (const line of lines) if (wanted && what === 'HTTP heads') void line.say('x: y\r\n');
      }, 1_000);
      const startedAt = performance.now();
      const missing = () => lines.filter((line) => wanted && !wanted.test(line.heard())).length;
      while (missing() > 0 && performance.now() - startedAt < ALL_ENDED_MS) await sleep(100);
      clearInterval(trickle);
      const seconds = (performance.now() - startedAt) / 1000;
      siege.stage.say(`${what}: all but ${missing()} of ${CLIENTS} were told after ${seconds.toFixed(0)} s`);
      for (const line of lines) line.hangUp();
      return missing() === 0 ? undefined : `${what}: ${missing()} of ${CLIENTS} were never told`;
    }),
  );
  const wrong = told.filter(Boolean);
  if (wrong.length > 0) throw new Error(wrong.join('; '));
  return `${KINDS.length * CLIENTS} requests that never end`;
}

/** Three bytes of a message, over a client that reads headers. */
function grpcBody(port: number): Asker {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  const headers: http2.IncomingHttpHeaders = {};
  const note = (more: http2.IncomingHttpHeaders) => void Object.assign(headers, more);
  const stream = session.request(callHeaders(PATH)).on('error', () => {});
  stream.on('response', note).on('trailers', note).resume();
  stream.write(Buffer.alloc(3));
  return { heard: () => JSON.stringify(headers), say: async () => {}, hangUp: () => session.destroy() };
}

async function begin(port: number, ...says: (string | Buffer)[]): Promise<Line> {
  const line = await openLine({ port, from: ENEMY });
  for (const bytes of says) await line.say(bytes);
  return line;
}

function call(stream: number, body: Buffer, flags: number): Buffer {
  const payload = headerBlock(callHeaders(PATH));
  const head = frame({ type: FRAME.headers, flags: FLAG.endHeaders, stream, payload });
  return Buffer.concat([head, frame({ type: FRAME.data, flags, stream, payload: body })]);
}

function post(rest: string): string {
  return `POST ${PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${rest}`;
}
