import { setTimeout as sleep } from 'node:timers/promises';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import { AuthService } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { brokenInvariants } from '../../test/support/people.ts';
import { clientsOf, outcomeOf } from '../../test/support/process-client.ts';
import { bookedRequests } from '../booked-requests.ts';
import { openClinic } from '../clinic.ts';
import { distinctBookings } from '../distinct-bookings.ts';
import type { Drill } from '../drill.ts';
import { openLoad, quantile } from '../open-load.ts';

const GUESSES = { perSecond: 500, seconds: 20 };
const ADDRESSES = 100;
const BOOKINGS = { perSecond: 20, seconds: 20 };
const PASSWORD = 'a violet umbrella, twice';
const HOME = { headers: { 'x-forwarded-for': '198.51.100.7' } };
/** What a guesser may be told; RATE_LIMITED and OVERLOADED before anything was compared, RESOURCE_EXHAUSTED over the limit of streams. */
const TOLD = new Set([
  ...['CREDENTIALS_INVALID', 'RATE_LIMITED', 'OVERLOADED', 'CONTENTION', 'DEADLINE_EXCEEDED', 'RESOURCE_EXHAUSTED'],
]);
const LATER = new Set(['OVERLOADED', 'CONTENTION']);

export const wrongPasswords: Drill = {
  name: 'wrong-passwords',
  story: `ten thousand wrong passwords for one account from ${ADDRESSES} addresses, while others book and the victim signs in`,
  breaks: [
    {
      file: 'src/auth/find-account.ts',
      from: 'AND network = ',
      to: "AND '' <> ",
      means: 'wrong passwords make the account wait, wherever they come from',
    },
    {
      file: 'src/auth/sign-in-place.entity.ts',
      from: 'if (over < 1) return;',
      to: 'if (over < 1_000_000) return;',
      means: 'nobody ever waits after a wrong password',
    },
  ],
  async run(stage) {
    const clinic = await openClinic(stage);
    const service = await clinic.start({ RATE_LIMITS: 'on', TRUSTED_PROXIES: '127.0.0.1' });
    const [guesser, booker] = [openLoad(service.grpcPort), openLoad(service.grpcPort)];
    try {
      const { plan } = await distinctBookings(clinic, { patients: 300, doctors: 5 });
      const { auth } = clientsOf(service).grpc;
      const email = 'victim@example.test';
      await auth.signUp({ email, password: PASSWORD, displayName: 'Asha', role: Role.PATIENT }, HOME);
      let turn = 0;
      const guess = () => {
        const headers = { 'x-forwarded-for': `203.0.113.${turn++ % ADDRESSES}` };
        return { method: AuthService.method.logIn, message: { email, password: `wrong ${turn}` }, headers };
      };
      const guessing = guesser.offer(GUESSES, guess);
      const booking = booker.offer(BOOKINGS, plan);
      const entries = await victimSignsIn(() => outcomeOf(HOME, (as) => auth.logIn({ email, password: PASSWORD }, as)));
      const [guessed, booked] = await Promise.all([guessing, booking]);
      const tally = Object.fromEntries(
        [...Map.groupBy(guessed, ({ reason }) => reason)].map(([k, v]) => [k, v.length]),
      );
      stage.say(
        `${guessed.length} guesses: ${JSON.stringify(tally)}; the victim got in ${entries.ok} of ${entries.tries} times`,
      );
      const strange = Object.keys(tally).filter((reason) => !TOLD.has(reason));
      if (strange.length) throw new Error(`guessers were told ${strange.join(', ')}`);
      if (entries.ok === 0) throw new Error('the victim never got in');
      if (entries.waited)
        throw new Error(`the victim was made to wait ${entries.waited} times for others' wrong passwords`);
      const [{ failures } = { failures: 0 }] = (await stage.postgres.query(
        "SELECT count(*)::int AS failures FROM audit_event WHERE action = 'LogIn' AND reason = 'CREDENTIALS_INVALID'",
        clinic.database,
      )) as { failures: number }[];
      const stranger = { headers: { 'x-forwarded-for': '192.0.2.1' } };
      const asStranger = async (tried: string) =>
        (await outcomeOf(stranger, (as) => auth.logIn({ email, password: tried }, as))).reason;
      for (let i = 0; i < 5; i++) await asStranger('wrong');
      const afterFive = await asStranger(PASSWORD);
      if (afterFive !== 'CREDENTIALS_INVALID') throw new Error(`after five wrong ones the sixth try is ${afterFive}`);
      const refused = booked.filter(({ reason }) => reason !== 'OK');
      const broken = await brokenInvariants(clinic);
      if (Object.keys(broken).length) throw new Error(JSON.stringify(broken));
      return {
        ...(await bookedRequests(clinic, { atLeast: booked.length - refused.length })),
        notes: [
          `${failures} of ${guessed.length} guesses were looked at`,
          `others' bookings: p95 ${quantile(
            booked.map(({ ms }) => ms),
            0.95,
          ).toFixed(0)} ms, ${refused.length} of ${booked.length} refused`,
          `the victim got in ${entries.ok} of ${entries.tries} times`,
        ],
      };
    } finally {
      guesser.close();
      booker.close();
      await clinic.close();
    }
  },
};

/** Every two seconds with the right password; told to come again later, once more after a second. */
async function victimSignsIn(logIn: () => Promise<{ readonly reason: string }>) {
  let ok = 0;
  let tries = 0;
  let waited = 0;
  for (const end = Date.now() + 1000 * GUESSES.seconds; Date.now() < end; await sleep(2_000)) {
    tries += 1;
    let { reason } = await logIn();
    if (LATER.has(reason)) {
      await sleep(1_000);
      ({ reason } = await logIn());
    }
    if (reason === 'OK') ok += 1;
    if (reason === 'CREDENTIALS_INVALID') waited += 1;
  }
  return { ok, tries, waited };
}
