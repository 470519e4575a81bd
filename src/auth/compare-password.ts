import type { UnitsOfWork } from '../db/unit-of-work.ts';
import { findTried } from './find-account.ts';
import { type Credentials, credentialsInvalid } from './log-in.ts';
import type { PasswordHasher } from './password.ts';
import { createUnknownAccounts } from './unknown-accounts.ts';

/** An e-mail address and a password, and where they come from. */
export interface Tried {
  readonly email: string;
  readonly password: string;
  readonly clientAddress: string;
}

/** An account that nobody has: a log-in with an unknown address takes the same way as one with a wrong password. */
const NOBODY = '00000000-0000-7000-8000-000000000000';

/**
 * Compares passwords, outside any transaction. Throws CREDENTIALS_INVALID where tries have to wait: nothing is compared then,
 * so that a flood of them costs no hashing. Whoever signed in from the same place before is compared before strangers.
 */
export function createComparison(units: UnitsOfWork, passwords: PasswordHasher) {
  const nobodys = createUnknownAccounts();
  return async (tried: Tried, signal: AbortSignal): Promise<Credentials> => {
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
}
