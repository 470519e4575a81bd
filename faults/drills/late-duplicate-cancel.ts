import { randomUUID } from 'node:crypto';
import { BookingState } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { openSlots, type Person, people } from '../../test/support/people.ts';
import { type BothClients, outcomeOf } from '../../test/support/process-client.ts';
import { atInstances } from '../at-instances.ts';
import type { Drill } from '../drill.ts';

const ROUNDS = 20;

export const lateDuplicateCancel: Drill = {
  name: 'late-duplicate-cancel',
  story:
    'a booking is cancelled, the slot booked by another, and then a delayed duplicate of the cancel arrives elsewhere',
  breaks: [
    {
      file: 'src/db/attempt-once.ts',
      from: 'return { requestId: request.requestId, fingerprint:',
      to: 'return { requestId: crypto.randomUUID(), fingerprint:',
      means: 'a duplicate counts as a request of its own',
    },
  ],
  run: (stage) =>
    atInstances(stage, 2, async ({ clinic, clients }) => {
      const [here, there] = clients as [BothClients, BothClients];
      const [doctor] = (await people(clinic, 'DOCTOR', 1)) as [Person];
      const slots = await openSlots(clinic, doctor.id, { count: ROUNDS });
      const [first, second] = (await people(clinic, 'PATIENT', 2)) as [Person, Person];
      const booked: string[] = [];
      for (const { id: slotId } of slots) {
        const mine = await here.grpc.booking.bookSlot({ requestId: randomUUID(), slotId }, first);
        const cancel = { requestId: randomUUID(), bookingId: mine.booking?.id as string, reason: 'a change of plans' };
        const answer = await here.json.booking.cancelBooking(cancel, first);
        const theirs = await there.grpc.booking.bookSlot({ requestId: randomUUID(), slotId }, second);
        const late = await outcomeOf(first, (as) => there.grpc.booking.cancelBooking(cancel, as));
        const bookingId = theirs.booking?.id as string;
        const now = await there.json.booking.getBooking({ bookingId }, second);
        if (now.booking?.state !== BookingState.CONFIRMED)
          throw new Error('the duplicate cancelled what another had booked');
        if (!late.replayed || late.answer?.booking?.id !== answer.booking?.id)
          throw new Error(`the duplicate was not told the first answer, but ${late.reason}`);
        booked.push(mine.booking?.id as string, bookingId);
      }
      return { booked, notes: [`${ROUNDS} duplicates got the first answer and changed nothing`] };
    }),
};
