import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Health, HealthCheckResponse_ServingStatus as Status } from '../../gen/health/v1/health_pb.ts';
import { type Listeners, listeners, transports } from './listeners.fixture.ts';

let served: Listeners;

beforeAll(async () => {
  served = await listeners({});
});

afterAll(() => served.close());

describe.each(['gRPC', 'Connect JSON', 'gRPC, TLS'])('%s', (name) => {
  const client = () => createClient(Health, transports(served)[name] as never);
  const ours = 'amrutam.booking.v1.BookingService';

  test('tells of the server, of each service, and of no other', async () => {
    served.health.setServing(false);
    expect((await client().check({})).status).toBe(Status.NOT_SERVING);
    served.health.setServing(true);
    expect((await client().check({})).status).toBe(Status.SERVING);
    expect((await client().check({ service: ours })).status).toBe(Status.SERVING);
    const error = await client().check({ service: 'nobody.v1.Knows' }).catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.NotFound, rawMessage: 'no such service' });
    const { statuses } = await client().list({});
    expect([statuses['']?.status, statuses[ours]?.status]).toEqual([Status.SERVING, Status.SERVING]);
  });

  test('tells watchers what changes, and those of unknown names nothing more', async () => {
    served.health.setServing(true);
    const controller = new AbortController();
    const seen: Record<string, Status[]> = { [ours]: [], 'nobody.v1.Knows': [] };
    const watch = async (service: string) => {
      for await (const { status } of client().watch({ service }, { signal: controller.signal }))
        seen[service]?.push(status);
    };
    const watching = Object.keys(seen).map((service) => watch(service).catch(() => {}));
    const until = async (length: number) => {
      while ((seen[ours]?.length ?? 0) < length || seen['nobody.v1.Knows']?.length === 0)
        await new Promise((resolve) => setTimeout(resolve, 5));
    };
    await until(1);
    served.health.setServing(true);
    served.health.setServing(false);
    await until(2);
    served.health.setServing(true);
    await until(3);
    controller.abort();
    await Promise.all(watching);
    expect(seen).toEqual({
      [ours]: [Status.SERVING, Status.NOT_SERVING, Status.SERVING],
      'nobody.v1.Knows': [Status.SERVICE_UNKNOWN],
    });
  });
});
