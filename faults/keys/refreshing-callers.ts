import { setTimeout as sleep } from 'node:timers/promises';
import type { CallOptions } from '@connectrpc/connect';
import { decodeProtectedHeader } from 'jose';
import { RefreshToken } from '../../src/auth/refresh-token.entity.ts';
import { serverCall } from '../../src/demo-clinic.ts';
import { person } from '../../test/support/people.ts';
import { type BothClients, clientsOf, outcomeOf } from '../../test/support/process-client.ts';
import type { Service } from '../../test/support/process-service.ts';
import type { Clinic } from '../clinic.ts';
import type { KeyedInstance } from './keyed-instance.ts';

/** What became of the tokens so far. */
interface Used {
  readonly issued: number;
  readonly checked: number;
  /** The keys that have signed. */
  readonly kids: ReadonlySet<string>;
}

/** Callers who have a new token from either instance in turn, and use it, and older ones, at both. */
export interface RefreshingCallers extends Pick<Used, 'kids'> {
  /** Waits for `work`; throws at once when a token was refused meanwhile. */
  whileRunning<T>(work: Promise<T>): Promise<T>;
  /** What another instance says to the token that was issued last. */
  newestToldBy(service: Service): Promise<string>;
  stop(): Promise<Used>;
}

/** For how long others may use a copy of the published key set, milliseconds. */
const CACHED_MS = 60_000;
const PAUSE_MS = 400;

/** Starts them. Each token must be taken everywhere, and its key be in every copy of the key set that somebody may still use. */
export async function startRefreshing(
  clinic: Clinic,
  instances: readonly KeyedInstance[],
  count: number,
): Promise<RefreshingCallers> {
  const places = instances.map(({ service }) => clientsOf(service));
  const kids = new Set<string>();
  const tokens: string[] = [];
  const unpublished = new Map<string, number>();
  let [checked, stopped] = [0, false];

  async function use(token: string): Promise<void> {
    const as = { headers: { authorization: `Bearer ${token}` } };
    await Promise.all(
      places.map(({ grpc }) => served(`a token of ${kidOf(token)}`, as, (o) => grpc.auth.getCurrentUser({}, o))),
    );
    checked += places.length;
  }
  async function mustBePublished(kid: string): Promise<void> {
    const since = unpublished.get(kid);
    for (const one of instances) if (!(await one.publishes(kid))) throw new Error(`${kid} signs, and is not published`);
    if (since !== undefined && Date.now() - since < CACHED_MS)
      throw new Error(`${kid} signs, and a copy of the key set of ${Date.now() - since} ms ago lacks it`);
  }
  async function run(first: string, turn: number): Promise<void> {
    let refreshToken = first;
    for (let i = turn; !stopped; i += 1) {
      const place = places[i % places.length] as BothClients;
      const { auth } = place.turn(Math.floor(i / places.length));
      const { session } = await served('a refresh token', {}, (as) => auth.refreshSession({ refreshToken }, as));
      if (!session) throw new Error('a refresh gave no session');
      const { accessToken } = session;
      refreshToken = session.refreshToken;
      const kid = kidOf(accessToken);
      if (!kids.has(kid)) await mustBePublished(kid);
      kids.add(kid);
      tokens.push(accessToken);
      const older = tokens[Math.floor(Math.random() * tokens.length)] ?? accessToken;
      await Promise.all([accessToken, older, tokens[0] ?? accessToken].map(use));
      await sleep(PAUSE_MS);
    }
  }
  /** Looks every half a second which of all keys an instance does not publish yet. */
  async function watch(): Promise<void> {
    for (; !stopped; await sleep(500))
      for (const kid of await allKids(instances))
        for (const one of instances) if (!(await one.publishes(kid))) unpublished.set(kid, Date.now());
  }
  const firsts = await Promise.all(Array.from({ length: count }, () => signIn(clinic)));
  const running = Promise.all([watch(), ...firsts.map(run)]);
  running.catch(() => {}); // the functions below tell
  return {
    kids,
    whileRunning: (work) =>
      Promise.race([work, running.then(() => Promise.reject(new Error('the callers have stopped')))]),
    async newestToldBy(service) {
      const headers = { authorization: `Bearer ${tokens.at(-1)}` };
      return (await outcomeOf({ headers }, (as) => clientsOf(service).json.auth.getCurrentUser({}, as))).reason;
    },
    async stop() {
      stopped = true;
      await running;
      return { issued: tokens.length, checked, kids };
    },
  };
}

/** Calls until it is answered: a busy machine may be late, but may not refuse a token. */
async function served<T>(what: string, as: CallOptions, call: (as: CallOptions) => Promise<T>): Promise<T> {
  for (;;) {
    const { answer, reason } = await outcomeOf(as, call);
    if (answer) return answer;
    if (/^(TOKEN|SESSION|ROLE|ACCOUNT|Un(auth|kn)|Perm)/.test(reason)) throw new Error(`${what} was told ${reason}`);
    await sleep(100);
  }
}

async function signIn(clinic: Clinic): Promise<string> {
  const { sessionId } = await person(clinic, 'PATIENT');
  return clinic.units.write(serverCall('LogIn'), async ({ em }) => {
    const { entity, token } = RefreshToken.issue(sessionId, new Date());
    em.persist(entity);
    return token;
  });
}

function kidOf(token: string): string {
  return decodeProtectedHeader(token).kid ?? '';
}

async function allKids(instances: readonly KeyedInstance[]): Promise<string[]> {
  const published = await Promise.all(instances.map((one) => one.kids()));
  return [...new Set(published.flat())];
}
