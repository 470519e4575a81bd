import { createGate } from '../db/gate.ts';
import type { UnitsOfWork } from '../db/unit-of-work.ts';
import { networkOf } from '../network.ts';
import { findTried } from './find-account.ts';
import { type Credentials, credentialsInvalid } from './log-in.ts';
import type { PasswordHasher } from './password.ts';
import { createUnknownAccounts } from './unknown-accounts.ts';
import { normalEmail } from './user.entity.ts';

/** An e-mail address and a password, and where they come from. */
export interface Tried {
  readonly email: string;
  readonly password: string;
  readonly clientAddress: string;
}

/** An account that nobody has: a log-in with an unknown address takes the same way as one with a wrong password. */
const NOBODY = '00000000-0000-7000-8000-000000000000';

/** Milliseconds that a try waits for those before it, from the same place at the same account: a flood must not pile up here. */
const WAIT_MS = 1_000;

/**
 * Compares passwords, outside any transaction, and has `then` do what follows. Throws CREDENTIALS_INVALID where tries have to
 * wait: nothing is compared then. From one place tries at one account come one after the other, counted before the next is
 * compared, so that a flood of them costs no more hashing than the free tries. Whoever signed in from the same place before is
 * compared before strangers.
 */
export function createComparison(units: UnitsOfWork, passwords: PasswordHasher) {
  const nobodys = createUnknownAccounts();
  const places = createGate(1, WAIT_MS, 'CONTENTION');
  const compare = async (tried: Tried, signal: AbortSignal): Promise<Credentials> => {
    const found = await units.read(signal, async (em, now) => ({ ...(await findTried(em, tried)), now }));
    const { user, now, place = user ? undefined : nobodys.place(tried, now) } = found;
    if (place?.blocked(now)) throw credentialsInvalid();
    if (!user) {
      place?.failed(now, { underAttack: false });
      await passwords.verifyNothing(tried.password, signal);
      return { userId: NOBODY, passwordHash: '', matches: false };
    }
    const line = place?.signedInAt ? 'first' : 'other';
    const { ok, stale } = await passwords.verify(user.passwordHash, tried.password, { signal, line });
    const rehashed = ok && stale ? await passwords.hash(tried.password, signal) : undefined;
    return { userId: user.id, passwordHash: user.passwordHash, matches: ok, rehashed };
  };
  return async <T>(tried: Tried, signal: AbortSignal, then: (credentials: Credentials) => Promise<T>): Promise<T> => {
    const leave = await places.enter(`${normalEmail(tried.email)} ${networkOf(tried.clientAddress)}`, signal);
    try {
      return await then(await compare(tried, signal));
    } finally {
      leave();
    }
  };
}
