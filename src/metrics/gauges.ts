import { Gauge, type Registry } from 'prom-client';

/** What is looked at when somebody asks. */
export interface Gauges {
  /** Connections of the pool. */
  readonly pool: () => { readonly inUse: number; readonly idle: number; readonly limit: number };
  /** Units of work that wait for a connection. */
  readonly waiting: () => number;
  /** Whether calls are served, as /readyz says. */
  readonly ready: () => boolean;
  /** Whether the replica can be used; absent: there is none. */
  readonly replica?: (() => boolean) | undefined;
}

export function collectGauges(registry: Registry, { pool, waiting, ready, replica }: Gauges): void {
  const registers = [registry];
  if (replica)
    new Gauge({
      name: 'db_replica_usable',
      help: '1 while lists and reports are read from the replica, 0 while the database has to answer them.',
      registers,
      aggregator: 'min',
      collect() {
        this.set(replica() ? 1 : 0);
      },
    });
  new Gauge({
    name: 'db_pool_connections',
    help: 'Connections to the database, in use and idle.',
    labelNames: ['state'],
    registers,
    collect() {
      const { inUse, idle } = pool();
      this.set({ state: 'in_use' }, inUse);
      this.set({ state: 'idle' }, idle);
    },
  });
  new Gauge({
    name: 'db_pool_limit',
    help: 'Connections that there may be at most.',
    registers,
    collect() {
      this.set(pool().limit);
    },
  });
  new Gauge({
    name: 'db_pool_waiting',
    help: 'Units of work that wait for a connection.',
    registers,
    collect() {
      this.set(waiting());
    },
  });
  new Gauge({
    name: 'ready',
    help: '1 while calls are served, as /readyz says.',
    registers,
    aggregator: 'min',
    collect() {
      this.set(ready() ? 1 : 0);
    },
  });
}
