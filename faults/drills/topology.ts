import { setTimeout as sleep } from 'node:timers/promises';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { freePort } from '../../test/support/free-port.ts';
import { clientsOver } from '../../test/support/process-client.ts';
import type { Service } from '../../test/support/process-service.ts';
import { hasRedis, startRedis } from '../../test/support/redis.ts';
import { type Balancer, hasBalancer, startBalancer } from '../balancer.ts';
import { lookBack } from '../bookers.ts';
import { checkClientAddress } from '../client-address.ts';
import { type Clinic, openClinic } from '../clinic.ts';
import { type CountedCalls, countedByWay, failed, startCountedCalls } from '../counted-calls.ts';
import { type Drill, notRun, type Report, type Stage } from '../drill.ts';
import { type NameServer, startNameServer } from '../name-server.ts';
import { stopInstance } from '../replace-instance.ts';
import { waysTo } from '../ways.ts';

/** Instances have the same ports, each on an address of its own, as containers have. */
const addressOf = (number: number) => `127.0.0.${10 + number}`;
/** For the balancer to hear of a name's new address, and to find who is there ready. */
const KNOWN_MS = 3_000;
const CALM_MS = 2_000;
const ONE_CONNECTION = 200;
/** Of so many calls in turn each of two instances gets half; more of them where it answers sooner. */
const LEAST_SHARE = 0.2;

export const topology: Drill = {
  name: 'topology',
  story:
    'what docker-compose.yml describes: instances behind a name and a balancer, with Redis; a third comes, the first goes',
  breaks: [
    {
      file: 'deploy/haproxy.cfg',
      from: '    option forwardfor\n',
      to: '',
      means: 'instances take the balancer for the client',
    },
    {
      file: 'deploy/haproxy.cfg',
      from: '    hold valid 1s\n',
      to: '    hold valid 1h\n    hold obsolete 1h\n',
      means: 'an instance that comes is not heard of',
    },
    {
      file: 'deploy/haproxy.cfg',
      from: '    balance leastconn\n',
      to: '    balance source\n',
      means: 'clients are balanced, not calls',
    },
  ],
  async run(stage) {
    const lacking = [hasBalancer() ? '' : 'haproxy', hasRedis ? '' : 'redis-server'].filter(Boolean);
    if (lacking.length) return notRun(lacking.join(' and '));
    const [clinic, redis, names] = [await openClinic(stage), await startRedis(), await startNameServer('api')];
    const ports = { GRPC_PORT: `${await freePort()}`, HTTP_PORT: `${await freePort()}` };
    const settings = { ...ports, REDIS_URL: redis.url, DRAIN_DELAY: '5', TRUSTED_PROXIES: '127.0.0.1' };
    const scene = { clinic, names, start: (number: number) => clinic.start({ ...settings, HOST: addressOf(number) }) };
    try {
      return await play(stage, scene);
    } finally {
      names.close();
      await clinic.close();
      await redis.kill();
    }
  },
};

interface Scene {
  readonly clinic: Clinic;
  readonly names: NameServer;
  start(number: number): Promise<Service>;
}

async function play(stage: Stage, { clinic, names, start }: Scene): Promise<Report> {
  const [first, second] = [await start(1), await start(2)];
  names.set([1, 2].map(addressOf));
  const { grpcPort, httpPort } = first;
  const balancer = await startBalancer({ grpcPort, httpPort, nameServer: names.port }, stage.root);
  try {
    await sleep(KNOWN_MS);
    await checkClientAddress(balancer, [first, second]);
    await oneConnectionReachesBoth(stage, balancer, [first, second]);
    const load = await startCountedCalls(clinic, waysTo(balancer).filter(({ eager }) => !eager));
    try {
      await sleep(CALM_MS);
      const third = await start(3);
      names.set([1, 2, 3].map(addressOf));
      await sleep(KNOWN_MS);
      stage.say(`a third has come: ${callsOf(third)} calls`);
      for (const [i, one] of [first, second, third].entries())
        if (callsOf(one) === 0) throw new Error(`instance ${i + 1} got no call`);
      names.set([2, 3].map(addressOf));
      await stopInstance(first);
      stage.say('the first has gone, and its address with it');
      names.close();
      await sleep(CALM_MS);
      stage.say('the name server has gone, too');
      return await told(stage, clinic, load);
    } finally {
      await load.stop();
    }
  } finally {
    await balancer.close();
  }
}

async function told({ say }: Stage, clinic: Clinic, load: CountedCalls): Promise<Report> {
  await load.stop();
  for (const line of countedByWay(load.calls)) say(line);
  const report = await lookBack(clinic, load.booked);
  const failures = failed(load.calls);
  if (failures.length) throw new Error(`${failures.length} of ${load.calls.length} calls failed`);
  return { ...report, notes: [`${load.calls.length} calls, none failed`] };
}

/** Calls are balanced, not connections: those of one client, one after the other, are answered by both. */
async function oneConnectionReachesBoth(
  { say }: Stage,
  { grpcPort }: Balancer,
  services: readonly Service[],
): Promise<void> {
  const { availability } = clientsOver(createGrpcTransport({ baseUrl: `http://127.0.0.1:${grpcPort}` }));
  const before = services.map(callsOf);
  for (let i = 0; i < ONE_CONNECTION; i++) await availability.searchDoctors({ pageSize: 1 });
  await sleep(500); // the log is written every tenth of a second
  const counts = services.map((service, i) => callsOf(service) - (before[i] ?? 0));
  say(`of ${ONE_CONNECTION} gRPC calls by one connection the instances answered ${counts.join(' and ')}`);
  if (Math.min(...counts) < ONE_CONNECTION * LEAST_SHARE)
    throw new Error('one instance got nearly all calls of a connection');
}

/** How many calls an instance has answered, as its log has it. */
function callsOf({ output }: Service): number {
  return output().split('"msg":"call"').length - 1;
}
