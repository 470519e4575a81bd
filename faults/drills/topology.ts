import { setTimeout as sleep } from 'node:timers/promises';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { freePort } from '../../test/support/free-port.ts';
import { clientsOf, clientsOver, tally } from '../../test/support/process-client.ts';
import type { Service } from '../../test/support/process-service.ts';
import { hasPrometheus, type Prometheus, startPrometheus } from '../../test/support/prometheus.ts';
import { hasRedis, startRedis } from '../../test/support/redis.ts';
import { type Balancer, hasBalancer, startBalancer } from '../balancer.ts';
import { startBookers } from '../bookers.ts';
import { checkClientAddress } from '../client-address.ts';
import { type Clinic, openClinic } from '../clinic.ts';
import { type Drill, notRun, type Report, type Stage } from '../drill.ts';
import { type NameServer, startNameServer } from '../name-server.ts';
import { stopInstance } from '../replace-instance.ts';

/** Instances have the same ports, each on an address of its own, as containers have. */
const addressOf = (number: number) => `127.0.0.${10 + number}`;
/** For the balancer to hear of a name's new address, and to find who is there ready. */
const KNOWN_MS = 3_000;
const CALM_MS = 2_000;
/** For the balancer to give up asking a name server. */
const NAMELESS_MS = 5_000;
/** For Prometheus, which asks each second, and a machine that is busy. */
const SCRAPED_MS = 15_000;
const ONE_CONNECTION = 200;
/** Of so many calls in turn each of two instances gets half; more of them where it answers sooner. */
const LEAST_SHARE = 0.2;

export const topology: Drill = {
  name: 'topology',
  story:
    'what docker-compose.yml describes: instances behind a name and a balancer, with Redis and Prometheus; a third comes, the first goes',
  breaks: [
    {
      file: 'deploy/haproxy.cfg',
      from: '    option forwardfor\n',
      to: '',
      means: 'instances take the balancer for the client',
    },
    {
      file: 'deploy/haproxy.cfg',
      from: '    hold timeout 1h\n    hold refused 1h\n    hold other 1h\n',
      to: '    hold timeout 1ms\n    hold refused 1ms\n    hold other 1ms\n',
      means: 'a name server that is away takes the instances with it',
    },
    {
      file: 'deploy/haproxy.cfg',
      from: '    balance leastconn\n',
      to: '    balance source\n',
      means: 'clients are balanced, not calls',
    },
  ],
  async run(stage) {
    // Elsewhere the loopback has one address.
    const there = {
      haproxy: hasBalancer(),
      'redis-server': hasRedis,
      prometheus: hasPrometheus,
      Linux: process.platform === 'linux',
    };
    const lacking = Object.entries(there).flatMap(([name, is]) => (is ? [] : name));
    if (lacking.length) return notRun(lacking.join(' and '));
    const [clinic, redis, names] = [await openClinic(stage), await startRedis(), await startNameServer('api')];
    const metricsPort = await freePort();
    const ports = {
      GRPC_PORT: `${await freePort()}`,
      HTTP_PORT: `${await freePort()}`,
      METRICS_PORT: `${metricsPort}`,
    };
    const settings = { ...ports, REDIS_URL: redis.url, DRAIN_DELAY: '5', TRUSTED_PROXIES: '127.0.0.1' };
    const start = (number: number) => {
      const address = addressOf(number);
      return clinic.start({ ...settings, HOST: address, METRICS_HOST: address });
    };
    const prometheus = await startPrometheus([1, 2, 3].map((number) => `${addressOf(number)}:${metricsPort}`));
    try {
      return await play(stage, { clinic, names, start, prometheus });
    } finally {
      await prometheus.stop();
      names.close();
      await clinic.close();
      await redis.kill();
    }
  },
};

interface Scene {
  readonly clinic: Clinic;
  readonly names: NameServer;
  readonly prometheus: Prometheus;
  start(number: number): Promise<Service>;
}

async function play(stage: Stage, { clinic, names, start, prometheus }: Scene): Promise<Report> {
  const [first, second] = [await start(1), await start(2)];
  names.set([1, 2].map(addressOf));
  const { grpcPort, httpPort } = first;
  const balancer = await startBalancer({ grpcPort, httpPort, nameServer: names.port }, stage.root);
  try {
    await sleep(KNOWN_MS);
    await checkClientAddress(balancer, [first, second]);
    await oneConnectionReachesBoth(stage, balancer, [first, second]);
    const { grpc, json } = clientsOf(balancer);
    const bookers = await startBookers(clinic, { count: 4, clients: [grpc, json], slotsEach: 1_000, pauseMs: 50 });
    try {
      await sleep(CALM_MS);
      const third = await start(3);
      names.set([1, 2, 3].map(addressOf));
      await sleep(KNOWN_MS);
      stage.say(`a third has come: ${callsOf(third)} calls`);
      for (const [i, one] of [first, second, third].entries())
        if (callsOf(one) === 0) throw new Error(`instance ${i + 1} got no call`);
      await prometheusSeesThree(stage, prometheus);
      names.set([2, 3].map(addressOf));
      await stopInstance(first);
      stage.say('the first has gone, and its address with it');
      names.close();
      await sleep(NAMELESS_MS);
      stage.say('the name server has gone, too');
      const refused = bookers.outcomes.filter(({ reason }) => reason !== 'OK');
      if (refused.length) throw new Error(`${refused.length} calls failed: ${JSON.stringify(tally(refused))}`);
      const report = await bookers.stop();
      return { ...report, notes: [`${bookers.outcomes.length} bookings over gRPC and HTTP/1.1, no call failed`] };
    } finally {
      bookers.abandon();
    }
  } finally {
    await balancer.close();
  }
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

/** Each instance is asked for its figures, and has booked. */
async function prometheusSeesThree({ say }: Stage, prometheus: Prometheus): Promise<void> {
  const booked =
    'sum by (instance) (rpc_server_duration_seconds_count{job="amrutam",method=~".*BookSlot",code="OK"}) > 0';
  for (const deadline = performance.now() + SCRAPED_MS; ; await sleep(200)) {
    const samples = await prometheus.query(booked);
    if (samples.length === 3) {
      say(`Prometheus counts ${samples.map(({ value }) => value).join(', ')} bookings of the three`);
      return;
    }
    if (performance.now() > deadline) throw new Error(`Prometheus saw bookings of ${samples.length} instances`);
  }
}

/** How many calls an instance has answered, as its log has it. */
function callsOf({ output }: Service): number {
  return output().split('"msg":"call"').length - 1;
}
