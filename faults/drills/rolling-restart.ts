import { setTimeout as sleep } from 'node:timers/promises';
import type { Service } from '../../test/support/process-service.ts';
import { type Balancer, hasBalancer, startBalancer } from '../balancer.ts';
import { lookBack } from '../bookers.ts';
import { checkClientAddress } from '../client-address.ts';
import { type Clinic, openClinic } from '../clinic.ts';
import { type CountedCalls, countedByWay, failed, p99, startCountedCalls } from '../counted-calls.ts';
import { type Drill, notRun, type Report, type Stage } from '../drill.ts';
import { startInItsPlace, stopInstance } from '../replace-instance.ts';
import { waysTo } from '../ways.ts';

const INSTANCES = 3;
/** Long enough for HAProxy to find a new instance ready: two answers, half a second apart. */
const RISE_MS = 2_000;
const CALM_MS = 4_000;
/** What DRAIN_DELAY is with DATABASE_URL when nobody sets it. */
const SETTINGS = { DRAIN_DELAY: '5', TRUSTED_PROXIES: '127.0.0.1' };

export const rollingRestart: Drill = {
  name: 'rolling-restart',
  story: 'three instances behind HAProxy are replaced in turn by SIGTERM, over and over, and no call fails',
  breaks: [
    {
      file: 'src/serve.ts',
      from: 'if (config.drainDelayMs > 0) await retire(server, config.drainDelayMs);',
      to: '',
      means: 'the listeners close before the balancer can know',
    },
    {
      file: 'src/serve.ts',
      from: 'stopping ? STOPPING : warned(await answers(), standing)',
      to: 'warned(await answers(), standing)',
      means: '/readyz says yes until the end',
    },
  ],
  async run(stage) {
    if (!hasBalancer()) {
      stage.say('NOT RUN: haproxy, 2.6 or newer, is not installed on this machine');
      return notRun('haproxy');
    }
    const clinic = await openClinic(stage);
    try {
      const services = await Promise.all(Array.from({ length: INSTANCES }, () => clinic.start(SETTINGS)));
      const balancer = await startBalancer(services, stage.root);
      try {
        await checkClientAddress(balancer, services);
        const load = await startCountedCalls(clinic, waysTo(balancer));
        return await restart(stage, { clinic, balancer, services, load }).finally(load.stop);
      } finally {
        await balancer.close();
      }
    } finally {
      await clinic.close();
    }
  },
};

interface Scene {
  readonly clinic: Clinic;
  readonly balancer: Balancer;
  readonly services: Service[];
  readonly load: CountedCalls;
}

async function restart({ say, seconds }: Stage, { clinic, balancer, services, load }: Scene): Promise<Report> {
  await sleep(CALM_MS);
  const before = load.calls.length;
  let restarts = 0;
  for (const endsAt = performance.now() + seconds * 1_000; performance.now() < endsAt || restarts % INSTANCES; ) {
    const i = restarts++ % INSTANCES;
    const service = services[i] as Service;
    const known = timesGone(balancer, i);
    await stopInstance(service);
    if (timesGone(balancer, i) === known) throw new Error('an instance was gone before the balancer knew that it goes');
    services[i] = await startInItsPlace(clinic, service, SETTINGS);
    await sleep(RISE_MS);
    say(`${restarts} restarts, ${load.calls.length} calls, ${failed(load.calls).length} failed`);
  }
  await load.stop();
  for (const line of countedByWay(load.calls)) say(line);
  const report = await lookBack(clinic, load.booked);
  const failures = failed(load.calls);
  if (failures.length) throw new Error(`${failures.length} of ${load.calls.length} calls failed`);
  const [calm, busy] = [load.calls.slice(0, before), load.calls.slice(before)].map((calls) => p99(calls).toFixed(0));
  const notes = [
    `${load.calls.length} calls through ${restarts} restarts, none failed`,
    `p99 ${calm} ms before, ${busy} during`,
  ];
  return { ...report, notes };
}

/** How often HAProxy has found the instance at `index` no longer ready. */
function timesGone({ output }: Balancer, index: number): number {
  return output().split(`Server http_instances/api-${index + 1} is DOWN`).length;
}
