import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import type { AuthService } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import type { UnitsOfWork } from '../db/unit-of-work.ts';
import { Fault } from '../fault.ts';
import { tokenOwner } from '../mail/find-token.ts';
import { mailTokenInvalid } from '../mail/mail-token.ts';
import { type Call, callerOf, callOf } from '../rpc/call.ts';
import type { AccessTokens } from './access-token.ts';
import { changePassword } from './change-password.ts';
import { refuseCommonPassword } from './common-password.ts';
import { createComparison } from './compare-password.ts';
import { endSession } from './end-sessions.ts';
import { answerEvenly, refuseEvenly } from './even-refusal.ts';
import { getUser } from './find-account.ts';
import { listSessions } from './list-sessions.ts';
import type { LiveSessions } from './live-sessions.ts';
import { logIn } from './log-in.ts';
import { sessionInfoMessage, sessionMessage, userMessage } from './message.ts';
import type { PasswordHasher } from './password.ts';
import { refreshSession } from './refresh-session.ts';
import { requestEmailVerification } from './request-email-verification.ts';
import { requestPasswordReset } from './request-password-reset.ts';
import { resetPassword } from './reset-password.ts';
import { type Enrol, signUp } from './sign-up.ts';
import type { SignedIn } from './signed-in.ts';
import { checkTimeZone } from './time-zone.ts';
import { updateCurrentUser } from './update-current-user.ts';
import { normalEmail } from './user.entity.ts';
import { verifyEmail } from './verify-email.ts';

export interface AuthDeps {
  readonly units: UnitsOfWork;
  readonly passwords: PasswordHasher;
  readonly tokens: AccessTokens;
  readonly sessions: LiveSessions;
  readonly enrol: Enrol;
  /** Whether mails can be sent. */
  readonly mails: boolean;
}

/** The handlers of amrutam.auth.v1.AuthService. */
export function authService({
  units,
  passwords,
  tokens,
  sessions,
  enrol,
  mails,
}: AuthDeps): ServiceImpl<typeof AuthService> {
  const session = async (signedIn: SignedIn) => {
    const { user, session } = signedIn;
    const access = await tokens.issue({ userId: user.id, sessionId: session.id, role: user.role });
    return { session: sessionMessage(signedIn, access) };
  };
  const compared = createComparison(units, passwords);
  const mustSendMails = () => {
    if (!mails) throw new Fault('MAIL_OFF', 'this service sends no mail');
  };
  return {
    async signUp({ email, password, displayName, role, timeZone }, ctx) {
      refuseCommonPassword('password', password, { email, displayName });
      const zone = checkTimeZone('time_zone', timeZone);
      const passwordHash = await passwords.hash(password, ctx.signal);
      const account = {
        email,
        displayName,
        passwordHash,
        timeZone: zone,
        role: role === Role.DOCTOR ? 'DOCTOR' : 'PATIENT',
      } as const;
      return session(await units.write(anonymous(ctx), (work) => signUp(work, account, enrol)));
    },
    logIn: ({ email, password }, ctx) =>
      refuseEvenly(ctx.signal, () =>
        compared({ email, password, clientAddress: callOf(ctx).clientAddress }, ctx.signal, async (credentials) =>
          session(await units.write(anonymous(ctx), (work) => logIn(work, credentials), `LogIn ${normalEmail(email)}`)),
        ),
      ),
    async refreshSession({ refreshToken }, ctx) {
      return session(await units.write(anonymous(ctx), (work) => refreshSession(work, refreshToken)));
    },
    async logOut(_, ctx) {
      const { userId, sessionId } = callerOf(ctx);
      await units.write(callOf(ctx), (work) => endSession(work, { sessionId, userId }));
      sessions.forget(sessionId);
      return {};
    },
    async getCurrentUser(_, ctx) {
      return { user: userMessage(await units.read(ctx.signal, (em) => getUser(em, callerOf(ctx).userId))) };
    },
    async updateCurrentUser({ displayName, timeZone }, ctx) {
      const zone = timeZone === undefined ? undefined : checkTimeZone('time_zone', timeZone);
      const { userId } = callerOf(ctx);
      return {
        user: userMessage(
          await units.write(callOf(ctx), (work) => updateCurrentUser(work, userId, { displayName, timeZone: zone })),
        ),
      };
    },
    async listSessions(_, ctx) {
      const { userId, sessionId } = callerOf(ctx);
      const live = await units.read(ctx.signal, (em, now) => listSessions(em, userId, now));
      return { sessions: live.map((one) => sessionInfoMessage(one, sessionId)) };
    },
    async revokeSession({ sessionId }, ctx) {
      const { userId } = callerOf(ctx);
      await units.write(callOf(ctx), (work) => endSession(work, { sessionId, userId }));
      sessions.forget(sessionId);
      return {};
    },
    async changePassword({ currentPassword, newPassword }, ctx) {
      const { userId, sessionId } = callerOf(ctx);
      const user = await units.read(ctx.signal, (em) => getUser(em, userId));
      refuseCommonPassword('new_password', newPassword, user);
      const verdict = await passwords.verify(user.passwordHash, currentPassword, { signal: ctx.signal, line: 'first' });
      const newHash = verdict.ok ? await passwords.hash(newPassword, ctx.signal) : '';
      const change = { userId, sessionId, passwordHash: user.passwordHash, matches: verdict.ok, newHash };
      await units.write(callOf(ctx), (work) => changePassword(work, change));
      return {};
    },
    async requestEmailVerification(_, ctx) {
      mustSendMails();
      const { userId } = callerOf(ctx);
      await units.write(callOf(ctx), (work) => requestEmailVerification(work, userId));
      return {};
    },
    async verifyEmail({ token }, ctx) {
      await units.write(anonymous(ctx), (work) => verifyEmail(work, token));
      return {};
    },
    async requestPasswordReset({ email }, ctx) {
      mustSendMails();
      await answerEvenly(ctx.signal, () =>
        units.write(anonymous(ctx), (work) => requestPasswordReset(work, email), `Reset ${normalEmail(email)}`),
      );
      return {};
    },
    async resetPassword({ token, newPassword }, ctx) {
      // Looked at before anything is hashed, and again under the lock.
      const user = await units.read(ctx.signal, async (em, now) => {
        const userId = await tokenOwner(em, { kind: 'PASSWORD_RESET', token }, now);
        if (!userId) throw mailTokenInvalid();
        return getUser(em, userId);
      });
      refuseCommonPassword('new_password', newPassword, user);
      const newHash = await passwords.hash(newPassword, ctx.signal);
      await units.write(anonymous(ctx), (work) => resetPassword(work, { token, newHash }));
      return {};
    },
  };
}

/** The call without a caller: on the way in nobody is anybody yet, whatever token came along. */
function anonymous(ctx: HandlerContext): Call {
  return { ...callOf(ctx), caller: undefined };
}
