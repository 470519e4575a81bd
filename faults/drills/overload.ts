import { setTimeout as sleep } from 'node:timers/promises';
import { brokenInvariants } from '../../test/support/people.ts';
import { bookedRequests } from '../booked-requests.ts';
import { openClinic } from '../clinic.ts';
import { distinctBookings } from '../distinct-bookings.ts';
import type { Drill } from '../drill.ts';
import { openLoad, quantile, type Sent } from '../open-load.ts';

const CLIENTS = 32;
const TIMES = 4;
const SECONDS = 8;
/** What is aimed at, in milliseconds, for those that are accepted. */
const AIM_MS = 500;
/** Beyond this it is a collapse and no noise of the machine. */
const COLLAPSE_MS = 1_500;
/** The least share of what the instance can serve that must still be served. */
const LEAST_SERVED = 0.3;

export const overload: Drill = {
  name: 'overload',
  story: `an instance is offered ${TIMES} times the bookings that it can serve`,
  breaks: [
    {
      file: 'src/rpc/shed-load.ts',
      from: '|| !full()) return next(req);',
      to: '|| true) return next(req);',
      means: 'nobody is refused at the door',
    },
  ],
  async run(stage) {
    const clinic = await openClinic(stage);
    const service = await clinic.start();
    const load = openLoad(service.grpcPort);
    try {
      const { plan } = await distinctBookings(clinic, { patients: 600, doctors: 50 });
      await load.keepBusy({ count: CLIENTS, seconds: 3 }, plan);
      const closed = await load.keepBusy({ count: CLIENTS, seconds: 5 }, plan);
      const capacity = closed.length / 5;
      stage.say(`${capacity.toFixed(0)} bookings/s by ${CLIENTS} clients that wait for their answers: ${told(closed)}`);
      await sleep(1_000);
      const offered = await load.offer({ perSecond: Math.round(capacity * TIMES), seconds: SECONDS }, plan);
      stage.say(`${offered.length} offered within ${SECONDS} s: ${told(offered)}`);
      const served = offered.filter(({ reason }) => reason === 'OK');
      const refused = offered.filter(({ reason }) => reason !== 'OK');
      const p95 = quantile(
        served.map(({ ms }) => ms),
        0.95,
      );
      const share = served.length / SECONDS / capacity;
      await sleep(1_000);
      const [after] = await load.keepBusy({ count: 1, seconds: 0.001 }, plan);
      stage.say(`a second later a booking takes ${after?.ms.toFixed(0)} ms: ${after?.reason}`);

      const strangers = refused.filter(({ reason, retryInfo }) => reason !== 'OVERLOADED' || !retryInfo);
      if (strangers.length) throw new Error(`refused otherwise than with OVERLOADED and RetryInfo: ${told(strangers)}`);
      if (p95 > COLLAPSE_MS) throw new Error(`those accepted took ${p95.toFixed(0)} ms (p95)`);
      if (share < LEAST_SERVED) throw new Error(`only ${(100 * share).toFixed(0)} % of what it can serve was served`);
      if (after?.reason !== 'OK') throw new Error(`afterwards a booking is ${after?.reason}`);
      const broken = await brokenInvariants(clinic);
      if (Object.keys(broken).length) throw new Error(JSON.stringify(broken));
      const acknowledged = [...closed, ...offered].filter(({ reason }) => reason === 'OK').length;
      return {
        ...(await bookedRequests(clinic, { atLeast: acknowledged })),
        notes: [
          `${capacity.toFixed(0)}/s served when not overloaded, ${(share * capacity).toFixed(0)}/s at ${TIMES} times that`,
          `p95 of those ${p95.toFixed(0)} ms (aim ${AIM_MS})`,
          `p95 of the refusals ${quantile(
            refused.map(({ ms }) => ms),
            0.95,
          ).toFixed(0)} ms`,
        ],
      };
    } finally {
      load.close();
      await clinic.close();
    }
  },
};

/** How many ended in which way, and how long those took. */
function told(sent: readonly Sent[]): string {
  const groups = [...Map.groupBy(sent, ({ reason }) => reason)];
  const times = (group: readonly Sent[]) =>
    [0.5, 0.95, 0.99]
      .map((share) =>
        quantile(
          group.map(({ ms }) => ms),
          share,
        ).toFixed(0),
      )
      .join('/');
  return groups.map(([reason, group]) => `${group.length} ${reason} (${times(group)} ms p50/p95/p99)`).join(', ');
}
