import { setTimeout as sleep } from 'node:timers/promises';
import { LIMITS } from '../../src/rpc/limits.ts';
import { clientsOf, outcomeOf } from '../../test/support/process-client.ts';
import { preface } from '../abuse/frames.ts';
import { type Line, openLine } from '../abuse/line.ts';
import { besiege, ENEMY, PROXY, type Siege } from '../abuse/siege.ts';
import { vitalsOf } from '../abuse/vitals.ts';
import type { Drill } from '../drill.ts';

/** From one address to each port; and from a proxy that is trusted, which stands for many clients. */
const FLOOD = 2_000;
const FROM_PROXY = LIMITS.connectionsEach + 200;
/** What an instance opens beside its connections. */
const OTHER_FILES = 200;

export const connectionFlood: Drill = {
  name: 'connection-flood',
  story: '2,000 connections of one address to each port, silent or idle; others come in, and a proxy may open more',
  breaks: [
    {
      file: 'src/rpc/places.ts',
      from: ' || own >= each',
      to: '',
      means: 'one client may hold all connections that there are',
    },
    {
      file: 'src/rpc/client-at.ts',
      from: 'isProxy(address) ? undefined : networkOf(address)',
      to: 'networkOf(address)',
      means: 'a trusted proxy is taken for one client',
    },
    {
      file: 'src/rpc/connection-limit.ts',
      from: 'if (socket.bytesRead > 0) return;',
      to: 'return;',
      means: 'who says nothing may stay',
    },
  ],
  run: (stage) =>
    besiege(stage, async (siege) => {
      const silent = await flood(siege);
      await proxyMayMore(siege);
      await silentMustGo(siege, silent);
      return [];
    }),
};

/** Every second connection to the gRPC port says what a client says first, and stays idle. */
async function flood({ service, stage }: Siege): Promise<Line[]> {
  const lines: Line[] = [];
  for (const port of [service.grpcPort, service.httpPort]) {
    lines.push(...(await openMany(FLOOD, { port, from: ENEMY })));
  }
  for (const [i, line] of lines.slice(0, FLOOD).entries()) if (i % 2) await line.say(preface());
  await sleep(1_000);
  const { files } = vitalsOf(service.pid);
  const open = lines.filter(({ socket }) => !socket.destroyed);
  stage.say(`${lines.length} came, ${open.length} are open; the instance has ${files} files open`);
  if (open.length > 2 * LIMITS.connectionsEach) throw new Error(`${open.length} connections of one address are open`);
  if (files > 2 * LIMITS.connectionsEach + OTHER_FILES) throw new Error(`${files} files are open`);
  return open.filter((_, i) => i % 2 === 0);
}

async function proxyMayMore({ service, stage }: Siege): Promise<void> {
  const lines = await openMany(FROM_PROXY, { port: service.httpPort, from: PROXY });
  await sleep(300);
  const open = lines.filter(({ socket }) => !socket.destroyed).length;
  stage.say(`of ${FROM_PROXY} connections of a trusted proxy ${open} are open`);
  const fresh = clientsOf(service);
  for (const { availability } of [fresh.grpc, fresh.json]) {
    const { reason } = await outcomeOf({ timeoutMs: 5_000 }, (as) => availability.searchDoctors({}, as));
    if (reason !== 'OK') throw new Error(`somebody who came late was told ${reason}`);
  }
  for (const line of lines) line.hangUp();
  if (open < FROM_PROXY) throw new Error(`${FROM_PROXY - open} connections of a trusted proxy were closed`);
}

async function silentMustGo({ stage }: Siege, silent: readonly Line[]): Promise<void> {
  await sleep(LIMITS.silentMs + 2_000);
  const left = silent.filter(({ socket }) => !socket.destroyed && socket.bytesWritten === 0).length;
  stage.say(`${silent.length} said nothing; ${left} of them are still there`);
  if (left > 0) throw new Error(`${left} silent connections are still open`);
}

async function openMany(count: number, options: Parameters<typeof openLine>[0]): Promise<Line[]> {
  const lines: Line[] = [];
  while (lines.length < count) {
    const some = Math.min(100, count - lines.length);
    lines.push(...(await Promise.all(Array.from({ length: some }, () => openLine(options)))));
  }
  return lines;
}
