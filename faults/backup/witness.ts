import { randomUUID } from 'node:crypto';
import { Session } from '../../src/auth/session.entity.ts';
import { serverCall } from '../../src/demo-clinic.ts';
import { openSlots, type Person, people } from '../../test/support/people.ts';
import { type Clients, outcomeOf } from '../../test/support/process-client.ts';
import type { Clinic } from '../clinic.ts';

/** Somebody who does one thing before the moment and others after it, and looks later what became of them. */
export interface Witness {
  /** Books the first slot. */
  before(): Promise<void>;
  /** Books the second slot, and ends a session; then sees at every instance that no slot is open. */
  after(): Promise<void>;
  /**
   * At every instance: the second slot is open again and no session lives. With a new session the first booking's repetition
   * is answered as it was, and the second one's books anew. Throws where something else is so.
   */
  look(): Promise<void>;
}

export async function sendWitness(clinic: Clinic, clients: readonly Clients[]): Promise<Witness> {
  const [patient, leaver] = (await people(clinic, 'PATIENT', 2)) as [Person, Person];
  const [doctor] = (await people(clinic, 'DOCTOR', 1)) as [Person];
  const slots = await openSlots(clinic, doctor.id, { count: 2, inMinutes: 6_000 });
  const [kept, undone] = slots.map(({ id }) => ({
    requestId: randomUUID(),
    slotId: id,
    reasonForVisit: 'a cough',
  })) as [Request, Request];
  const [first] = clients as [Clients];
  const book = (request: Request, as: Pick<Person, 'headers'> = patient) =>
    outcomeOf(as, (options) => first.booking.bookSlot(request, options));
  const open = ({ availability }: Clients) =>
    availability.listSlots({ doctorId: doctor.id }).then(({ slots }) => slots.map(({ id }) => id));
  let bookingId = '';
  return {
    async before() {
      bookingId = (await book(kept)).answer?.booking?.id ?? '';
    },
    async after() {
      if ((await book(undone)).reason !== 'OK') throw new Error('the witness could not book');
      await first.auth.logOut({}, { headers: leaver.headers });
      for (const instance of clients)
        while ((await open(instance)).length) await new Promise((resolve) => setTimeout(resolve, 50));
    },
    async look() {
      for (const instance of clients) {
        const shown = await open(instance);
        if (shown.join() !== undone.slotId) throw new Error(`a listing from before: ${shown.length} slots are open`);
        for (const person of [patient, leaver]) {
          const { reason } = await outcomeOf(person, (as) => instance.booking.listBookings({}, as));
          if (reason !== 'SESSION_REVOKED') throw new Error(`a session from before the restore: ${reason}`);
        }
      }
      const again = await signedIn(clinic, patient);
      const repeated = await book(kept, again);
      if (!repeated.replayed || repeated.answer?.booking?.id !== bookingId)
        throw new Error(`a request from before the moment was not answered as it was: ${repeated.reason}`);
      const anew = await book(undone, again);
      if (anew.replayed || anew.reason !== 'OK') throw new Error(`a request of after the moment: ${anew.reason}`);
    },
  };
}

interface Request {
  readonly requestId: string;
  readonly slotId: string;
  readonly reasonForVisit: string;
}

/** Headers of a new session of somebody. */
async function signedIn({ units, tokens }: Clinic, { id }: Person): Promise<Pick<Person, 'headers'>> {
  const role = 'PATIENT';
  const session = await units.write(serverCall('LogIn'), async ({ em }) => {
    const device = { userAgent: 'test', clientAddress: '127.0.0.1' };
    const session = Session.begin(id, { role, device, now: new Date() });
    em.persist(session);
    return session;
  });
  const { token } = await tokens.issue({ userId: id, sessionId: session.id, role });
  return { headers: { authorization: `Bearer ${token}` } };
}
