import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterEach, expect, test } from '@jest/globals';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import type { HttpListenerOptions } from './http-listener.ts';
import { LIMITS } from './limits.ts';
import { type Listeners, listeners } from './listeners.fixture.ts';

const ID = '0192f0c4-7e5a-7b3c-8d2e-1f2a3b4c5d6e';
const AGE_MS = 400;
/** Of a quiet moment, and some more. */
const PAUSE_MS = 800;

let served: Listeners;

afterEach(() => served.close(0));

function serve(options: Partial<HttpListenerOptions> = {}): Promise<Listeners> {
  const availability = { getSlot: async () => ({ slot: { id: ID } }) };
  return listeners({ availability }, { limits: { ...LIMITS, ageMs: AGE_MS }, ...options });
}

/** A connection that asks something every 20 ms, and how many answers it got by the time it was asked to go. */
async function busyConnection(port: number, withinMs: number) {
  const session = connect(`http://127.0.0.1:${port}`);
  let [answers, asked] = [0, false];
  session.once('goaway', () => {
    asked = true;
  });
  for (const endsAt = performance.now() + withinMs; !asked && performance.now() < endsAt; await sleep(20)) {
    await answerOn(session);
    answers += 1;
  }
  session.destroy();
  return { answers, asked };
}

/** Asks, and resolves when that is over: answered, or refused because the connection was asked to go meanwhile. */
async function answerOn(session: ClientHttp2Session): Promise<void> {
  const stream = session.request({ ':path': '/none', ':method': 'POST', 'content-type': 'application/grpc' });
  stream.on('error', () => {}).resume();
  stream.end();
  await new Promise((resolve) => stream.once('close', resolve));
}

test('an old connection goes in a quiet moment, and no call is lost by that', async () => {
  served = await serve();
  const client = createClient(AvailabilityService, createGrpcTransport({ baseUrl: `http://127.0.0.1:${served.grpc}` }));
  for (let round = 0; round < 3; round++) {
    const endsAt = performance.now() + AGE_MS + 100;
    while (performance.now() < endsAt) expect((await client.getSlot({ slotId: ID })).slot?.id).toBe(ID);
    await sleep(PAUSE_MS);
  }
  const idle = connect(`http://127.0.0.1:${served.grpc}`);
  const goaway = once(idle, 'goaway');
  await answerOn(idle);
  expect((await goaway)[0]).toBe(0);
});

test('one that is never quiet goes in the end', async () => {
  served = await serve();
  const { answers, asked } = await busyConnection(served.grpc, 10 * AGE_MS);
  expect(asked).toBe(true);
  expect(answers).toBeGreaterThan(5);
});

test('a trusted proxy keeps its connections', async () => {
  served = await serve({ trustedProxies: ['127.0.0.1'] });
  expect(await busyConnection(served.grpc, 5 * AGE_MS)).toMatchObject({ asked: false });
});
