import { setTimeout as sleep } from 'node:timers/promises';
import { AuthService } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import type { Caller } from '../../src/caller.ts';
import { sql } from '../../src/db/sql.ts';
import { forkFor, rows } from '../../src/db/statement.ts';
import { type Mint, mintOf } from '../../test/support/forged-token.ts';
import { forgeries } from '../../test/support/forgeries.ts';
import { type Person, person } from '../../test/support/people.ts';
import { type Protocol, protocolsOf } from '../../test/support/protocols.ts';
import { type Clinic, openClinic } from '../clinic.ts';
import type { Drill } from '../drill.ts';

const { getCurrentUser } = AuthService.method;
const { searchDoctors } = AvailabilityService.method;
const REFUSED = /^(TOKEN_INVALID|TOKEN_EXPIRED)$/;

export const forgedTokens: Drill = {
  name: 'forged-tokens',
  story: 'tokens of every forged kind, over every protocol, while their victim calls with the real one',
  breaks: [
    {
      file: 'src/auth/access-token.ts',
      from: "      typ: 'at+jwt',\n      issuer,",
      to: '      issuer,',
      means: 'a token of any type is taken',
    },
    {
      file: 'src/auth/access-token.ts',
      from: 'Object.keys(more).length === 0',
      to: 'true',
      means: 'a header may ask for what it likes',
    },
    {
      file: 'src/auth/access-token.ts',
      from: 'mustBeSpelledOurWay(token, [protectedHeader, payload]);',
      to: '',
      means: 'a payload may say a thing twice',
    },
    {
      file: 'src/auth/live-sessions.ts',
      from: 'found?.userId === userId && found.role === role ?',
      to: 'found ?',
      means: 'a session that lives is believed to be of whoever names it',
    },
  ],
  async run(stage) {
    const clinic = await openClinic(stage);
    const service = await clinic.start();
    const protocols = protocolsOf(service);
    try {
      const patient = await person(clinic, 'PATIENT');
      const mint = await mintOf(clinic.keysFile, callerOf(patient));
      const victim = keepCalling(protocols, patient);
      if ((await told(protocols, mint.signed())).some((one) => one !== 'OK')) throw new Error('the mint is no good');
      const forged = await tryAll(protocols, mint);
      const lies = await tryLies(clinic, protocols, patient);
      const calls = await victim.stop();
      const [kept] = await rows<{ count: number }>(
        forkFor(clinic.orm),
        sql`SELECT count(*) FROM audit_event WHERE outcome <> 'DONE'`,
      );
      if (kept?.count !== 0) throw new Error(`${kept?.count} forgeries went on record: a flood would fill the table`);
      const notes = [
        `${forged} forgeries and ${lies} lies refused over ${protocols.length} protocols; the victim had ${calls} answers`,
      ];
      return { acknowledged: calls, lost: 0, doubled: 0, notes };
    } finally {
      for (const protocol of protocols) protocol.close();
      await clinic.close();
    }
  },
};

const callerOf = ({ id, sessionId }: Person): Caller => ({ userId: id, sessionId, role: 'PATIENT' });

/** What every protocol says to a token: at a method for the signed in, and at one that browsers may GET. */
async function told(protocols: readonly Protocol[], token: string): Promise<string[]> {
  const headers = { authorization: `Bearer ${token}` };
  const said = protocols.map(async (protocol) => {
    const method = protocol.carries(getCurrentUser) ? getCurrentUser : searchDoctors;
    const { reason, code } = await protocol.call(method, {}, { headers });
    return reason ?? code;
  });
  return Promise.all(said);
}

/** The victim's real token goes on counting, beside the forgeries that resemble it. */
function keepCalling(protocols: readonly Protocol[], { headers }: Person): { stop(): Promise<number> } {
  let [calls, stopped] = [0, false];
  const running = (async () => {
    const able = protocols.filter((one) => one.carries(getCurrentUser));
    while (!stopped) {
      const { code, reason } = (await able[calls % able.length]?.call(getCurrentUser, {}, { headers })) ?? { code: '' };
      if (code !== 'OK') throw new Error(`the victim was told ${reason}`);
      calls += 1;
      await sleep(5);
    }
  })();
  running.catch(() => {}); // `stop` tells
  return {
    async stop() {
      stopped = true;
      await running;
      return calls;
    },
  };
}

async function tryAll(protocols: readonly Protocol[], mint: Mint): Promise<number> {
  const all = forgeries(mint);
  for (const { what, token } of all) {
    const taken = (await told(protocols, token)).filter((reason) => !REFUSED.test(reason));
    if (taken.length) throw new Error(`${what} was told ${taken[0]}, by ${taken.length} protocols`);
  }
  return all.length;
}

/** Signed by the service's own key, and untrue. */
async function tryLies(clinic: Clinic, protocols: readonly Protocol[], patient: Person): Promise<number> {
  const other = await person(clinic, 'PATIENT');
  const lies: readonly Partial<Caller>[] = [
    { userId: other.id },
    { sessionId: other.sessionId },
    { role: 'ADMINISTRATOR' },
    { role: 'DOCTOR' },
  ];
  const able = protocols.filter((one) => one.carries(getCurrentUser));
  for (const lie of lies) {
    // So that both are fresh in the instance's memory.
    for (const { token } of [patient, other]) await told(able, token);
    const { token } = await clinic.tokens.issue({ ...callerOf(patient), ...lie });
    const taken = (await told(able, token)).filter((reason) => !/^(TOKEN_INVALID|SESSION_REVOKED)$/.test(reason));
    if (taken.length) throw new Error(`a signed token with ${JSON.stringify(lie)} was told ${taken[0]}`);
  }
  return lies.length;
}
