import { once } from 'node:events';
import net from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { limitConnections } from './connection-limit.ts';
import { LIMITS, type Limits } from './limits.ts';
import type { Stray } from './turned-away.ts';

const PROXY = '127.0.0.3';

let server: net.Server;
let strays: Stray[];
let sockets: net.Socket[];

async function listen(limits: Partial<Limits>): Promise<void> {
  [strays, sockets] = [[], []];
  server = net.createServer((socket) => socket.resume());
  limitConnections(server, {
    limits: { ...LIMITS, ...limits },
    isProxy: (address) => address === PROXY,
    turnAway: (stray) => strays.push(stray),
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
}

afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
});

/** Opens one; whether it is still open a moment later. */
async function comesIn(localAddress: string): Promise<boolean> {
  const socket = net.connect({ port: (server.address() as net.AddressInfo).port, host: '127.0.0.1', localAddress });
  sockets.push(socket);
  socket.on('error', () => {}).resume();
  await once(socket, 'connect');
  return Promise.race([once(socket, 'close').then(() => false), wait(100).then(() => true)]);
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('a client has so many connections, and another one comes in nevertheless', async () => {
  await listen({ connectionsEach: 2 });
  expect([await comesIn('127.0.0.2'), await comesIn('127.0.0.2'), await comesIn('127.0.0.2')]).toEqual([
    true,
    true,
    false,
  ]);
  expect(await comesIn('127.0.0.4')).toBe(true);
  expect(strays).toEqual(['connection over the limit']);
});

test('whoever hangs up has a place again', async () => {
  await listen({ connectionsEach: 1 });
  expect(await comesIn('127.0.0.2')).toBe(true);
  sockets[0]?.destroy();
  await wait(50);
  expect(await comesIn('127.0.0.2')).toBe(true);
});

test('all clients together have so many, and a trusted proxy is bounded by neither number', async () => {
  await listen({ connections: 2, connectionsEach: 1 });
  expect([await comesIn('127.0.0.2'), await comesIn('127.0.0.4'), await comesIn('127.0.0.5')]).toEqual([
    true,
    true,
    false,
  ]);
  expect([await comesIn(PROXY), await comesIn(PROXY)]).toEqual([true, true]);
});

test('who says nothing is hung up on; who has spoken stays', async () => {
  await listen({ silentMs: 150 });
  expect([await comesIn('127.0.0.2'), await comesIn('127.0.0.2')]).toEqual([true, true]);
  sockets[1]?.write('x');
  await wait(300);
  expect(sockets.map(({ destroyed }) => destroyed)).toEqual([true, false]);
  expect(strays).toEqual(['connection without a word']);
});
