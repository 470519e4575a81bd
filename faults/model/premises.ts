import { setTimeout as sleep } from 'node:timers/promises';
import type { Backstage } from '../../test/support/people.ts';
import { type BothClients, type Clients, clientsOf, type Ports } from '../../test/support/process-client.ts';
import { type DatabaseProxy, type StoppedCommit, startDatabaseProxy } from '../../test/support/process-proxy.ts';
import type { Ended } from './ask.ts';
import { type Clock, movableClock } from './clock.ts';

/** What can happen to a call at its COMMIT: the connection to the database is cut, or the instance is killed; the database had it, or not. */
export interface Injury {
  readonly to: 'connection' | 'instance';
  readonly committed: boolean;
}

/** An instance that serves, at once or soon. */
export interface Instance extends Ports {
  /** Ends it without a word; absent where it can't be done. */
  readonly kill?: () => Promise<void>;
}

/** Two instances on one database with a movable clock. What happens, happens to the second. */
export interface Premises {
  readonly clinic: Backstage;
  readonly clock: Clock;
  /** How often so far a request_id was used again after a week. */
  readonly tally: { newAgain: number };
  /** Clients of an instance that serves, by one of its protocols, for any number: 0 to 3 name them all. */
  via(turn: number): Clients;
  /** Injures whatever call comes to its COMMIT next at the second instance, `holdMs` later; resolves when it is done. */
  injureNext(injury: Injury, holdMs: number): Promise<void>;
  /** Makes a call that COMMITs at the second instance, and injures it there. */
  injured(injury: Injury, call: (clients: Clients) => Promise<Ended>): Promise<Ended>;
  close(): Promise<void>;
}

/** What premises are made of. */
export interface PremisesOptions {
  readonly clinic: Backstage;
  /** URL of the database, which no instance has been connected to yet. */
  readonly databaseUrl: string;
  /** Starts an instance on this database. */
  start(databaseUrl: string): Promise<Instance>;
}

export async function openPremises({ clinic, databaseUrl, start }: PremisesOptions): Promise<Premises> {
  const clock = await movableClock(databaseUrl);
  const proxy = await startDatabaseProxy(databaseUrl);
  const first = clientsOf(await start(databaseUrl));
  let second: BothClients | undefined;
  let starting = startSecond();
  async function startSecond(): Promise<{ clients: BothClients; kill: Instance['kill'] }> {
    const instance = await start(proxy.url);
    second = clientsOf(instance);
    return { clients: second, kill: instance.kill };
  }
  async function injure(commit: StoppedCommit, { to, committed }: Injury, kill: Instance['kill']): Promise<void> {
    if (committed) await commit.deliver();
    if (to === 'instance' && kill) {
      second = undefined;
      await kill();
      starting = startSecond();
      starting.catch(() => {}); // whoever waits for it is told
    }
    commit.cut();
  }
  await starting;
  return {
    clinic,
    clock,
    tally: { newAgain: 0 },
    via: (turn) => ((turn & 2 && second) || first).turn(turn),
    async injureNext(injury, holdMs) {
      const { kill } = await starting;
      const commit = await proxy.nextCommit();
      await sleep(holdMs);
      await injure(commit, injury, kill);
    },
    async injured(injury, call) {
      const { clients, kill } = await starting;
      const ended = call(clients.grpc);
      await injure(await stoppedCommit(proxy, ended), injury, kill);
      return ended;
    },
    async close() {
      await starting.catch(() => {});
      await proxy.close();
      await clock.close();
    },
  };
}

/** The COMMIT of a call that goes on. Throws when the call ends without one. */
async function stoppedCommit(proxy: DatabaseProxy, ended: Promise<Ended>): Promise<StoppedCommit> {
  const stopped = proxy.nextCommit();
  const first = await Promise.race([stopped, ended]);
  if ('cut' in first) return first;
  stopped.then((late) => late.cut());
  throw new Error(`the call ended before its COMMIT: ${first.reason}`);
}
