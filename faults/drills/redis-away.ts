import { setTimeout as sleep } from 'node:timers/promises';
import { brokenInvariants } from '../../test/support/people.ts';
import { clientsOf, outcomeOf } from '../../test/support/process-client.ts';
import type { Service } from '../../test/support/process-service.ts';
import { hasRedis, startRedis } from '../../test/support/redis.ts';
import { bookedRequests } from '../booked-requests.ts';
import { openClinic } from '../clinic.ts';
import { distinctBookings } from '../distinct-bookings.ts';
import { type Drill, notRun } from '../drill.ts';
import { openLoad, quantile } from '../open-load.ts';

/** At each instance: well within what it can serve. */
const BOOKINGS = { perSecond: 20, seconds: 22 };
/** On a machine that is busy with other things. */
const MOST_OVERLOADED = 0.05;
/** Log-ins a minute from one client address. */
const LIMIT = 60;
/** An instance leaves a Redis that failed alone for two seconds. */
const ALONE_MS = 2_500;

export const redisAway: Drill = {
  name: 'redis-away',
  story:
    'Redis is frozen, wakes up, is killed and started again, while others book at two instances that share limits by it',
  breaks: [
    {
      file: 'src/rate-counter.ts',
      from: 'return await inTime(',
      to: 'return await (',
      means: 'a call waits for Redis for as long as it takes',
    },
    {
      file: 'src/rate-counter.ts',
      from: 'return waitAfter(local(perMinute).consume(key));',
      to: 'return local ? 0 : 1;',
      means: 'without Redis there is no limit',
    },
  ],
  async run(stage) {
    if (!hasRedis) return notRun('there is no redis-server on the PATH');
    const redis = await startRedis();
    const clinic = await openClinic(stage);
    try {
      const env = { RATE_LIMITS: 'on', REDIS_URL: redis.url, TRUSTED_PROXIES: '127.0.0.1' };
      const services = [await clinic.start(env), await clinic.start(env)];
      await Promise.all(services.map((service) => service.wrote('Redis answers')));
      const { plan } = await distinctBookings(clinic, { patients: 400, doctors: 5 });
      const loads = services.map(({ grpcPort }) => openLoad(grpcPort));
      const booking = loads.map((load) => load.offer(BOOKINGS, plan));
      const taken = { together: await logIns(services, '203.0.113.1'), frozen: 0, killed: 0, again: 0 };
      stage.say('Redis is frozen');
      redis.freeze();
      await sleep(1_000);
      taken.frozen = await logIns(services, '203.0.113.2');
      await sleep(3_000);
      redis.thaw();
      await sleep(ALONE_MS);
      stage.say('Redis is killed');
      await redis.kill();
      await sleep(500);
      taken.killed = await logIns(services, '203.0.113.3');
      await sleep(3_000);
      await redis.start();
      await sleep(ALONE_MS + 2_000);
      taken.again = await logIns(services, '203.0.113.4');
      const booked = (await Promise.all(booking)).flat();
      for (const load of loads) load.close();
      stage.say(`log-ins taken of 200: ${JSON.stringify(taken)}`);
      const refused = booked.filter(({ reason }) => reason !== 'OK');
      const failed = refused.find(({ reason }) => reason !== 'OVERLOADED');
      if (failed || refused.length > MOST_OVERLOADED * booked.length)
        throw new Error(`${refused.length} bookings were refused, such as with ${(failed ?? refused[0])?.reason}`);
      const wanted = { together: LIMIT, frozen: 2 * LIMIT, killed: 2 * LIMIT, again: LIMIT };
      if (JSON.stringify(taken) !== JSON.stringify(wanted))
        throw new Error(`log-ins taken: ${JSON.stringify(taken)} instead of ${JSON.stringify(wanted)}`);
      const broken = await brokenInvariants(clinic);
      if (Object.keys(broken).length) throw new Error(JSON.stringify(broken));
      const ms = booked.map((one) => one.ms);
      return {
        ...(await bookedRequests(clinic, { atLeast: booked.length - refused.length })),
        notes: [
          `bookings: p95 ${quantile(ms, 0.95).toFixed(0)} ms, the slowest ${Math.max(...ms).toFixed(0)} ms; ${refused.length} of ${booked.length} refused`,
          `log-ins taken of 200 at two instances: ${JSON.stringify(taken)}`,
        ],
      };
    } finally {
      await clinic.close();
      await redis.kill();
    }
  },
};

/** A hundred at each instance from one address, too short to be compared: how many were taken. */
async function logIns(services: readonly Service[], address: string): Promise<number> {
  const from = { headers: { 'x-forwarded-for': address } };
  const tries = services
    .map(clientsOf)
    .flatMap(({ grpc }) =>
      Array.from({ length: 100 }, () =>
        outcomeOf(from, (as) => grpc.auth.logIn({ email: 'a@example.test', password: '' }, as)),
      ),
    );
  return (await Promise.all(tries)).filter(({ reason }) => reason === 'FIELD_INVALID').length;
}
