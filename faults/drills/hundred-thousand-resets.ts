import http2 from 'node:http2';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { callHeaders, FLAG, FRAME, frame, headerBlock, message, preface, word } from '../abuse/frames.ts';
import { openLine } from '../abuse/line.ts';
import { besiege, ENEMY, PROXY, type Siege } from '../abuse/siege.ts';
import { vitalsOf } from '../abuse/vitals.ts';
import type { Drill } from '../drill.ts';

const { getSlot } = AvailabilityService.method;
const PATH = `/${getSlot.parent.typeName}/${getSlot.name}`;
const RESETS = 100_000;
/** The longest that a slow machine takes to come through what a connection has sent. */
const TAKEN_MS = 10_000;
/** Calls that the clients of a busy balancer give up in a second. */
const CANCELS_A_SECOND = 600;
const PROXY_SECONDS = 6;

export const hundredThousandResets: Drill = {
  name: 'hundred-thousand-resets',
  story: 'one client breaks off 100,000 calls; then a balancer 600 a second for 6 s, among calls that must be served',
  breaks: [
    {
      file: 'src/rpc/reset-budget.ts',
      from: 'if (left >= 0 || session.destroyed) return left >= 0;',
      to: 'if (left >= 0 || !session.destroyed) return true;',
      means: 'broken-off calls are counted, and nothing follows',
    },
    {
      file: 'src/rpc/grpc-listener.ts',
      from: "Object.assign(Reflect.get(server, 'commonServerOptions') as object, http2Options(limits));",
      to: '',
      means: "the balancer's connection has nghttp2's own limits",
    },
  ],
  run: (stage) =>
    besiege(stage, async (siege) => {
      const flood = await resetFlood(siege);
      const beside = await balancer(siege);
      if (!(await ended(siege))) throw new Error('nobody put an end to the flood');
      return [flood, beside];
    }),
};

/** Whoever is cut off comes again at once. */
async function resetFlood({ service, stage }: Siege): Promise<string> {
  const before = vitalsOf(service.pid).cpuMs;
  const pair = (stream: number) => [
    frame({ type: FRAME.headers, flags: FLAG.endHeaders, stream, payload: headerBlock(callHeaders(PATH)) }),
    frame({ type: FRAME.reset, stream, payload: word(http2.constants.NGHTTP2_CANCEL) }),
  ];
  let sent = 0;
  let connections = 0;
  while (sent < RESETS) {
    const line = await openLine({ port: service.grpcPort, from: ENEMY });
    connections += 1;
    await line.say(preface());
    for (let stream = 1; sent < RESETS && !line.socket.destroyed; sent += 100) {
      await line.say(Buffer.concat(Array.from({ length: 100 }, (_, i) => pair(stream + 2 * i)).flat()));
      stream += 200;
    }
    await line.closedWithin(TAKEN_MS);
    line.hangUp();
  }
  const cpuMs = vitalsOf(service.pid).cpuMs - before;
  stage.say(`${sent} resets over ${connections} connections; ${cpuMs} ms of a core`);
  return `${connections} connections, ${cpuMs} ms CPU`;
}

/** Whether the instance says so; its sums of strays come every 10 s. */
async function ended({ service }: Siege): Promise<boolean> {
  for (let i = 0; i < 150 && !service.output().includes('too many calls broken off'); i++) await sleep(100);
  return service.output().includes('too many calls broken off');
}

async function balancer({ service, clinic, stage }: Siege): Promise<string> {
  const session = http2.connect(`http://127.0.0.1:${service.grpcPort}`, {
    createConnection: () => net.connect({ port: service.grpcPort, host: '127.0.0.1', localAddress: PROXY }),
  });
  session.on('error', () => {});
  const slotId = '0192f0c4-7e5a-7b3c-8d2e-1f2a3b4c5d6e';
  const body = message(toBinary(getSlot.input, create(getSlot.input, { slotId })));
  const served: Promise<string>[] = [];
  clinic.proxy.delay(5); // so that calls are still in flight when they are given up
  for (let tick = 0; tick < PROXY_SECONDS * 50; tick++) {
    for (let i = 0; i < CANCELS_A_SECOND / 50; i++) giveUp(session, body);
    served.push(statusOf(session, body));
    await sleep(20);
  }
  clinic.proxy.delay(0);
  const answers = await Promise.all(served);
  session.destroy();
  const lost = answers.filter((status) => status !== NOT_FOUND);
  stage.say(
    `the balancer gave up ${PROXY_SECONDS * CANCELS_A_SECOND} calls; of ${answers.length} others ${lost.length} failed`,
  );
  if (lost.length > 0)
    throw new Error(`${lost.length} of ${answers.length} calls beside cancelled ones failed: ${lost[0]}`);
  return `beside ${CANCELS_A_SECOND} cancels/s ${answers.length} calls served`;
}

/** Nobody has published that slot. */
const NOT_FOUND = '5';

function giveUp(session: http2.ClientHttp2Session, body: Buffer): void {
  if (session.closed || session.destroyed) return;
  const stream = session.request(callHeadersOf());
  stream.on('error', () => {}).end(body);
  setTimeout(() => stream.close(http2.constants.NGHTTP2_CANCEL), 1);
}

function statusOf(session: http2.ClientHttp2Session, body: Buffer): Promise<string> {
  if (session.closed || session.destroyed) return Promise.resolve('the connection is gone');
  return new Promise((resolve) => {
    let status = 'cut';
    const note = (headers: http2.IncomingHttpHeaders) => {
      status = String(headers['grpc-status'] ?? status);
    };
    const stream = session.request(callHeadersOf());
    stream
      .on('response', note)
      .on('trailers', note)
      .on('error', () => {})
      .on('close', () => resolve(status));
    stream.resume().end(body);
  });
}

function callHeadersOf(): http2.OutgoingHttpHeaders {
  return { ':method': 'POST', ':path': PATH, 'content-type': 'application/grpc', te: 'trailers' };
}
