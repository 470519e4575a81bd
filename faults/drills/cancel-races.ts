import { randomUUID } from 'node:crypto';
import { openSlots, type Person, people } from '../../test/support/people.ts';
import { type BothClients, type Clients, type Outcome, outcomeOf } from '../../test/support/process-client.ts';
import { atInstances, type Bench } from '../at-instances.ts';
import type { Drill } from '../drill.ts';

const ROUNDS = 25;

/** Who is there in each round: a patient who has booked a slot, another one who would like to, and their doctor. */
interface Cast {
  readonly here: Clients;
  readonly there: Clients;
  readonly doctor: Person;
  readonly patient: Person;
  readonly other: Person;
  readonly slotId: string;
  readonly bookingId: string;
}

type Ends = readonly [Outcome<unknown>, Outcome<unknown>];

/** Two calls at once, and the ways in which they may end; as reasons, in their order. */
interface Race {
  readonly name: string;
  readonly run: (cast: Cast) => Promise<Ends>;
  readonly fine: readonly string[];
}

const cancel = ({ here, patient, bookingId }: Cast) =>
  outcomeOf(patient, (as) => here.booking.cancelBooking({ requestId: randomUUID(), bookingId, reason: '' }, as));

const RACES: readonly Race[] = [
  {
    name: 'start',
    run: (cast) =>
      Promise.all([
        cancel(cast),
        outcomeOf(cast.doctor, (as) =>
          cast.there.booking.startConsultation({ requestId: randomUUID(), bookingId: cast.bookingId }, as),
        ),
      ]),
    fine: ['OK BOOKING_STATE', 'BOOKING_STATE OK'],
  },
  {
    name: 'complete',
    run: async (cast) => {
      const { there, doctor, bookingId } = cast;
      await there.booking.startConsultation({ requestId: randomUUID(), bookingId }, doctor);
      return Promise.all([
        cancel(cast),
        outcomeOf(doctor, (as) => there.booking.completeConsultation({ requestId: randomUUID(), bookingId }, as)),
      ]);
    },
    fine: ['BOOKING_STATE OK'],
  },
  {
    name: 'book',
    run: (cast) =>
      Promise.all([
        cancel(cast),
        outcomeOf(cast.other, (as) =>
          cast.there.booking.bookSlot({ requestId: randomUUID(), slotId: cast.slotId }, as),
        ),
      ]),
    fine: ['OK OK', 'OK SLOT_TAKEN'],
  },
  {
    name: 'withdraw',
    run: (cast) =>
      Promise.all([
        cancel(cast),
        outcomeOf(cast.doctor, (as) =>
          cast.there.availability.withdrawSlot({ requestId: randomUUID(), slotId: cast.slotId }, as),
        ),
      ]),
    fine: ['OK OK', 'OK SLOT_NOT_OPEN'],
  },
];

export const cancelRaces: Drill = {
  name: 'cancel-races',
  story:
    'a cancel against the start, the end, another’s booking and the withdrawal of its slot, at once at two instances',
  breaks: [
    {
      file: 'src/booking/booking.entity.ts',
      from: "IN_PROGRESS: ['COMPLETED'],",
      to: "IN_PROGRESS: ['COMPLETED', 'CANCELLED'],",
      means: 'a consultation that has begun can be cancelled',
    },
    {
      file: 'src/availability/withdraw-slot.ts',
      from: "if (slot.state !== 'OPEN') throw slot.notOpen();",
      to: "slot.state = 'OPEN';",
      means: 'a booked slot can be withdrawn',
    },
  ],
  run: (stage) =>
    atInstances(stage, 2, async (bench) => {
      const booked: string[] = [];
      const notes: string[] = [];
      for (const race of RACES) {
        const ends = new Map<string, number>();
        for (let round = 0; round < ROUNDS; round++) {
          const cast = await castOf(bench, round);
          booked.push(cast.bookingId);
          const end = (await race.run(cast)).map(({ reason }) => reason).join(' ');
          if (!race.fine.includes(end)) throw new Error(`cancel against ${race.name} ended as ${end}`);
          ends.set(end, (ends.get(end) ?? 0) + 1);
        }
        notes.push(`${race.name}: ${[...ends].map(([end, count]) => `${count} x ${end}`).join(', ')}`);
      }
      return { booked, notes };
    }),
};

/** A slot that has not begun and can be started already, booked. */
async function castOf({ clinic, clients }: Bench, round: number): Promise<Cast> {
  const [left, right] = clients as [BothClients, BothClients];
  const [[doctor], [patient, other]] = (await Promise.all([
    people(clinic, 'DOCTOR', 1),
    people(clinic, 'PATIENT', 2),
  ])) as [[Person], [Person, Person]];
  const [slot] = await openSlots(clinic, doctor.id, { inMinutes: 10 });
  const slotId = slot?.id as string;
  const [here, there] = [left.turn(round), right.turn(round + 1)];
  const { booking } = await here.booking.bookSlot({ requestId: randomUUID(), slotId }, patient);
  return { here, there, doctor, patient, other, slotId, bookingId: booking?.id as string };
}
