import type { Work } from '../db/work.ts';
import { useToken } from './use-token.ts';

/** Takes a token that was sent to an address as the proof that its account's owner reads what is sent there. Throws MAIL_TOKEN_INVALID. */
export async function verifyEmail(work: Work, token: string): Promise<void> {
  const { user, now } = await useToken(work, { kind: 'VERIFICATION', token });
  user.verifyEmail(now);
}
