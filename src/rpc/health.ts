import { EventEmitter, once } from 'node:events';
import type { DescService } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { Health, HealthCheckResponse_ServingStatus as Status } from '../../gen/health/v1/health_pb.ts';
import { asAnswer } from './errors.ts';
import { type Route, route } from './listener.ts';

/** grpc.health.v1 for one process. */
export interface HealthRoute {
  readonly route: Route;
  /** What is told from now on, to watchers at once. It begins with not serving. */
  setServing(serving: boolean): void;
}

/** Health of the whole server, under the empty name, and of each of `services`: they serve together or not at all. */
export function health(services: readonly DescService[]): HealthRoute {
  const names = ['', ...services.map((service) => service.typeName)];
  // A watcher costs one listener, whatever name it watches, until its call ends.
  const changes = new EventEmitter().setMaxListeners(0);
  let now: Status = Status.NOT_SERVING;
  const implementation = route(Health, {
    check: ({ service }) => {
      if (names.includes(service)) return { status: now };
      throw asAnswer(new ConnectError('no such service', Code.NotFound));
    },
    list: () => ({ statuses: Object.fromEntries(names.map((name) => [name, { status: now }])) }),
    async *watch({ service }, { signal }) {
      const known = names.includes(service);
      for (let told: Status | undefined; ; ) {
        const status = known ? now : Status.SERVICE_UNKNOWN;
        if (status !== told) yield { status };
        told = status;
        // Changed while the client was slow to read: tell that first.
        if (known && now !== told) continue;
        await once(changes, 'change', { signal });
      }
    },
  });
  const setServing = (serving: boolean) => {
    now = serving ? Status.SERVING : Status.NOT_SERVING;
    changes.emit('change');
  };
  return { route: implementation, setServing };
}
