import { once } from 'node:events';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Service } from '../test/support/process-service.ts';
import type { Ports } from './balancer.ts';

/** Where a client calls from whose address is no proxy's. */
const CLIENT = '127.0.0.2';
/** Well after the line of a call is in the log. */
const LOGGED_MS = 500;

/** An instance must know its clients by the address that the balancer saw, whatever they write in a header themselves. */
export async function checkClientAddress({ httpPort }: Ports, services: readonly Service[]): Promise<void> {
  const headers = { 'x-forwarded-for': '203.0.113.9', 'x-request-id': 'who-am-i', 'content-type': 'application/json' };
  const path = '/amrutam.availability.v1.AvailabilityService/SearchDoctors';
  const request = http.request({ port: httpPort, localAddress: CLIENT, path, method: 'POST', headers }).end('{}');
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  await once(response.resume(), 'close');
  await sleep(LOGGED_MS);
  const lines = services.flatMap(({ output }) => output().split('\n')).filter((line) => line.includes('who-am-i'));
  const peers = lines.map((line) => (JSON.parse(line) as { peer: string }).peer);
  if (peers.join() !== CLIENT) throw new Error(`the client at ${CLIENT} was logged as ${peers.join() || 'nobody'}`);
}
