import { randomUUIDv7 as uuid } from 'node:crypto';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import type { Session } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { sql } from '../../src/db/sql.ts';
import { forkFor, rows } from '../../src/db/statement.ts';
import { type Backstage, type Person, person } from './people.ts';
import type { Clients } from './process-client.ts';

/** Where sessions end: the callers of one instance, and the database behind it. */
export interface Scene {
  readonly clients: Clients;
  readonly backstage: Backstage;
}

/** Somebody with a password, signed in. */
export interface Member {
  readonly account: { readonly email: string; readonly password: string };
  readonly session: Session;
  /** Of the first session, as options of a call. */
  readonly headers: { readonly authorization: string };
}

/** One way in which what a token says comes to be true no more. */
export interface Ending {
  readonly what: string;
  /** The reason for which its token is refused from then on. */
  readonly reason: string;
  /** Resolves when whoever asked for it was told that it is done. */
  end(scene: Scene, member: Member): Promise<unknown>;
}

/** Signs somebody up over the wire. */
export async function member({ clients }: Pick<Scene, 'clients'>): Promise<Member> {
  const account = { email: `${uuid()}@example.test`, password: 'seven violet tractors' };
  const { session } = await clients.auth.signUp({ ...account, displayName: 'A member', role: Role.PATIENT });
  return { account, ...signedIn(session) };
}

/** All of them. */
export const ENDINGS: readonly Ending[] = [
  {
    what: 'the account is suspended',
    reason: 'ACCOUNT_SUSPENDED',
    end: async ({ clients, backstage }, { session }) =>
      clients.admin.suspendUser({ userId: session.user?.id ?? '' }, await administrator(backstage)),
  },
  {
    what: 'the session is revoked from another device',
    reason: 'SESSION_REVOKED',
    end: async ({ clients }, { account, session }) => {
      const other = signedIn((await clients.auth.logIn(account)).session);
      return clients.auth.revokeSession({ sessionId: session.id }, other);
    },
  },
  {
    what: 'the user logs out',
    reason: 'SESSION_REVOKED',
    end: ({ clients }, { headers }) => clients.auth.logOut({}, { headers }),
  },
  {
    what: 'the password is changed on another device',
    reason: 'SESSION_REVOKED',
    end: async ({ clients }, { account }) => {
      const other = signedIn((await clients.auth.logIn(account)).session);
      const change = { currentPassword: account.password, newPassword: 'eleven marble canoes' };
      return clients.auth.changePassword(change, other);
    },
  },
  {
    what: 'a refresh token is used a second time',
    reason: 'SESSION_REVOKED',
    end: async ({ clients }, { session: { refreshToken } }) => {
      const child = (await clients.auth.refreshSession({ refreshToken })).session;
      await clients.auth.refreshSession({ refreshToken: child?.refreshToken ?? '' });
      await clients.auth.refreshSession({ refreshToken }).then(
        () => Promise.reject(new Error('a refresh token of two generations ago was taken')),
        () => {},
      );
    },
  },
  {
    what: "an operator changes the account's role",
    reason: 'TOKEN_INVALID',
    end: ({ backstage }, { session }) =>
      rows(forkFor(backstage.orm), sql`UPDATE app_user SET role = 'ADMINISTRATOR' WHERE id = ${session.user?.id}`),
  },
];

function administrator(backstage: Backstage): Promise<Person> {
  return person(backstage, 'ADMINISTRATOR');
}

function signedIn(session: Session | undefined): Pick<Member, 'session' | 'headers'> {
  if (!session) throw new Error('nobody was signed in');
  return { session, headers: { authorization: `Bearer ${session.accessToken}` } };
}
