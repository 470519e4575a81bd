import { setTimeout as sleep } from 'node:timers/promises';
import { RefreshToken } from '../../src/auth/refresh-token.entity.ts';
import { sql } from '../../src/db/sql.ts';
import { forkFor, rows } from '../../src/db/statement.ts';
import { serverCall } from '../../src/demo-clinic.ts';
import { type Person, person } from '../../test/support/people.ts';
import { type Clients, clientsOf, outcomeOf } from '../../test/support/process-client.ts';
import { startDatabaseProxy } from '../../test/support/process-proxy.ts';
import { type Clinic, openClinic } from '../clinic.ts';
import type { Drill, Stage } from '../drill.ts';

const ROUNDS = 100;
const SESSIONS = 4;
const CRASHES = 5;
/** Milliseconds for which a lost answer can be asked for again, and a little. */
const GRACE_MS = 10_500;

/** A sign-in, as one browser has it. */
interface SignIn {
  readonly owner: Person;
  readonly refreshToken: string;
}

export const refreshInTwoTabs: Drill = {
  name: 'refresh-in-two-tabs',
  story:
    'two tabs refresh one session at two instances at once, a hundred times; answers are lost, instances killed, old tokens stolen',
  breaks: [
    {
      file: 'src/auth/refresh-session.ts',
      from: ') FOR NO KEY UPDATE`,',
      to: ')`,',
      means: 'the session is not locked while its token is exchanged',
    },
    {
      file: 'src/auth/refresh-token.entity.ts',
      from: 'const GRACE_MS = 10_000;',
      to: 'const GRACE_MS = 60_000;',
      means: 'a stolen token is good for a minute',
    },
    {
      file: 'src/auth/refresh-session.ts',
      from: '    session.end(now);\n',
      to: '',
      means: 'the reuse of a token ends nothing',
    },
  ],
  async run(stage) {
    const clinic = await openClinic(stage);
    try {
      const [one, other] = [clientsOf(await clinic.start()), clientsOf(await clinic.start())];
      const tabs: readonly Clients[] = [one.grpc, other.json, one.json, other.grpc];
      const old = await Promise.all(Array.from({ length: SESSIONS }, () => browse(clinic, tabs)));
      stage.say(`${SESSIONS} sessions refreshed ${ROUNDS} times by two tabs at once`);
      for (let i = 0; i < CRASHES; i += 1) await crash(clinic, stage, tabs);
      stage.say(`${CRASHES} instances killed between the commit and the answer`);
      await sleep(GRACE_MS);
      for (const signIn of old) await steal(clinic, tabs, signIn);
      stage.say(`${old.length} tokens used again after 10 s: their sessions are over, once on record each`);
      return {
        acknowledged: ROUNDS * SESSIONS + CRASHES,
        lost: 0,
        doubled: 0,
        notes: [`${old.length} thefts noticed`],
      };
    } finally {
      await clinic.close();
    }
  },
};

async function signIn(clinic: Clinic): Promise<SignIn> {
  const owner = await person(clinic, 'PATIENT');
  const refreshToken = await clinic.units.write(serverCall('LogIn'), async ({ em }) => {
    const { entity, token } = RefreshToken.issue(owner.sessionId, new Date());
    em.persist(entity);
    return token;
  });
  return { owner, refreshToken };
}

/** The child of a token; throws when it is refused. */
async function refresh(clients: Clients, refreshToken: string): Promise<string> {
  const { answer, reason } = await outcomeOf({}, (as) => clients.auth.refreshSession({ refreshToken }, as));
  if (!answer?.session) throw new Error(`a refresh was told ${reason}`);
  const headers = { authorization: `Bearer ${answer.session.accessToken}` };
  const { reason: told } = await outcomeOf({ headers }, (as) => clients.auth.getCurrentUser({}, as));
  if (told !== 'OK') throw new Error(`a token that was just issued was told ${told}`);
  return answer.session.refreshToken;
}

/** Refreshes a session again and again, by two tabs at once; one of three times an answer is lost and asked for again. */
async function browse(clinic: Clinic, tabs: readonly Clients[]): Promise<SignIn> {
  const { owner, refreshToken } = await signIn(clinic);
  let [parent, token] = [refreshToken, refreshToken];
  for (let round = 0; round < ROUNDS; round += 1) {
    const at = (i: number) => tabs[(round + i) % tabs.length] as Clients;
    const children = await Promise.all([refresh(at(0), token), refresh(at(1), token)]);
    if (round % 3 === 0) children.push(await refresh(at(2), token));
    if (new Set(children).size !== 1) throw new Error(`round ${round}: the tabs got different tokens`);
    [parent, token] = [token, children[0] as string];
  }
  return { owner, refreshToken: parent };
}

/** Kills an instance whose COMMIT the database has had and whose caller has no answer; another gives the same child. */
async function crash(clinic: Clinic, { postgres }: Stage, tabs: readonly Clients[]): Promise<void> {
  const proxy = await startDatabaseProxy(postgres.url(clinic.database));
  try {
    const doomed = await clinic.start({ DATABASE_URL: proxy.url });
    const { owner, refreshToken } = await signIn(clinic);
    const stopped = proxy.nextCommit();
    const lost = outcomeOf({}, (as) => clientsOf(doomed).grpc.auth.refreshSession({ refreshToken }, as));
    const commit = await stopped;
    await commit.deliver();
    doomed.kill('SIGKILL');
    if ((await lost).answer) throw new Error('an instance that was killed has answered');
    const children = await Promise.all(tabs.map((tab) => refresh(tab, refreshToken)));
    const kept = await tokensOf(clinic, owner);
    if (new Set(children).size !== 1 || kept !== 2)
      throw new Error(`after a crash: ${new Set(children).size} children were told, ${kept} tokens are kept`);
    await refresh(tabs[0] as Clients, children[0] as string);
  } finally {
    await proxy.close();
  }
}

/** Uses the parent of the newest token after its time: the whole session is over, at every instance, and once on record. */
async function steal(clinic: Clinic, tabs: readonly Clients[], { owner, refreshToken }: SignIn): Promise<void> {
  const tell = async (tab: Clients) =>
    (await outcomeOf({}, (as) => tab.auth.refreshSession({ refreshToken }, as))).reason;
  for (const tab of tabs)
    if ((await tell(tab)) !== 'SESSION_REVOKED') throw new Error(`a stolen token was told ${await tell(tab)}`);
  const [found] = await rows<{ revoked: boolean; recorded: number }>(
    forkFor(clinic.orm),
    sql`SELECT revoked_at IS NOT NULL AS revoked, (SELECT count(*) FROM audit_event WHERE entity_id = s.id
          AND action = 'RefreshSession' AND outcome = 'REFUSED' AND reason = 'SESSION_REVOKED') AS recorded
        FROM session s WHERE id = ${owner.sessionId}`,
  );
  if (!found?.revoked || found.recorded !== 1) throw new Error(`after a theft: ${JSON.stringify(found)}`);
}

async function tokensOf(clinic: Clinic, { sessionId }: Person): Promise<number> {
  const [found] = await rows<{ count: number }>(
    forkFor(clinic.orm),
    sql`SELECT count(*) FROM refresh_token WHERE session_id = ${sessionId}`,
  );
  return found?.count ?? 0;
}
