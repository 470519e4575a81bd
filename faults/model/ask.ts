import { type DescMessage, toBinary } from '@bufbuild/protobuf';
import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { CallOptions } from '@connectrpc/connect';
import { RoleSchema } from '../../gen/amrutam/access/v1/access_pb.ts';
import { type Slot, SlotSchema, SlotStateSchema } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import {
  type Booking,
  BookingSchema,
  BookingStateSchema,
  SlotAlternativesSchema,
} from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { enumName } from '../../src/rpc/enum-name.ts';
import { type Clients, type Outcome, outcomeOf } from '../../test/support/process-client.ts';
import { clockOf, minuteOf } from './look.ts';
import { sayOfBooking, sayOfRefusal, sayOfSlot } from './say.ts';
import type { Scene } from './scene.ts';
import type { Answer, BookingFacts, Operation, Role, SlotFacts } from './world.ts';

/** What any of the methods answers. */
interface Told {
  readonly booking?: Booking | undefined;
  readonly slot?: Slot | undefined;
  readonly slots?: readonly Slot[];
}

/** How a call ended; the slots of an answer to GetSlot, WithdrawSlot and PublishSlots are in `slots`. */
export type Ended = Outcome<Told>;

/** Makes the call at a real service. `idOf` may spell ids otherwise. Never rejects. */
export function ask(
  { availability, booking }: Clients,
  { people, begin, idOf }: Scene,
  { caller, request, asks }: Operation,
  spell: (id: string) => string = (id) => id,
): Promise<Ended> {
  const requestId = spell(idOf(request));
  const at = (minute: number) => timestampFromDate(new Date(begin.getTime() + minute * 60_000));
  const call = (as: CallOptions): Promise<Told> => {
    switch (asks.method) {
      case 'BookSlot':
        return booking.bookSlot({ requestId, slotId: spell(idOf(asks.slot)), reasonForVisit: asks.words }, as);
      case 'CancelBooking':
        return booking.cancelBooking({ requestId, bookingId: spell(idOf(asks.booking)), reason: asks.words }, as);
      case 'RescheduleBooking':
        return booking.rescheduleBooking(
          { requestId, bookingId: spell(idOf(asks.booking)), newSlotId: idOf(asks.slot) },
          as,
        );
      case 'CheckIn':
        return booking.checkIn({ requestId, bookingId: spell(idOf(asks.booking)) }, as);
      case 'StartConsultation':
        return booking.startConsultation({ requestId, bookingId: spell(idOf(asks.booking)) }, as);
      case 'CompleteConsultation':
        return booking.completeConsultation({ requestId, bookingId: spell(idOf(asks.booking)) }, as);
      case 'MarkNoShow':
        return booking.markNoShow({ requestId, bookingId: spell(idOf(asks.booking)) }, as);
      case 'GetBooking':
        return booking.getBooking({ bookingId: idOf(asks.booking) }, as);
      case 'WithdrawSlot':
        return availability.withdrawSlot({ requestId, slotId: spell(idOf(asks.slot)) }, as);
      case 'PublishSlots':
        return availability.publishSlots(
          { requestId, slots: asks.times.map(([from, until]) => ({ startTime: at(from), endTime: at(until) })) },
          as,
        );
      case 'GetSlot':
        return availability.getSlot({ slotId: idOf(asks.slot) }, as);
    }
  };
  return outcomeOf({ headers: people[caller]?.headers, timeoutMs: 10_000 }, call);
}

/** What was answered, in the specification's words. */
export function answerOf(scene: Scene, { reason, answer, error, replayed }: Ended): Answer {
  if (answer) {
    const { booking, slot, slots = slot ? [slot] : [] } = answer;
    const shown = booking
      ? [sayOfMessage(scene, booking)]
      : slots.map((one) => sayOfSlot(scene.nameOf(one.id), factsOf(scene, one)));
    return { says: `OK ${shown.join(', ')}`, replayed };
  }
  const tells = Object.entries(error?.findDetails(ErrorInfoSchema)[0]?.metadata ?? {});
  const minutes = tells.map(([name, value]) => [
    name,
    name === 'from' || name === 'until' ? minuteOf(scene, value) : value,
  ]);
  const offers = error?.findDetails(SlotAlternativesSchema)[0]?.slots.map(({ id }) => scene.nameOf(id));
  return { says: sayOfRefusal(reason, Object.fromEntries(minutes)), replayed, offers };
}

/** The answer itself, byte for byte: what a repetition must get again. */
export function bytesOf({ answer, error }: Ended): string {
  if (!answer) {
    const details = error?.details.map((detail) =>
      'value' in detail ? Buffer.from(detail.value as Uint8Array).toString('hex') : detail,
    );
    return JSON.stringify([error?.code, error?.rawMessage, details]);
  }
  const hex = (schema: DescMessage, message: Booking | Slot) => Buffer.from(toBinary(schema, message)).toString('hex');
  const { booking, slot, slots = slot ? [slot] : [] } = answer;
  return booking ? hex(BookingSchema, booking) : slots.map((one) => hex(SlotSchema, one)).join(' ');
}

const time = (stamp: Parameters<typeof timestampDate>[0] | undefined) => (stamp ? timestampDate(stamp) : new Date(0));

function factsOf(scene: Scene, { doctorId, startTime, endTime, state }: Slot): SlotFacts {
  return {
    doctor: scene.nameOf(doctorId),
    from: minuteOf(scene, time(startTime)),
    until: minuteOf(scene, time(endTime)),
    state: enumName<SlotFacts['state']>(SlotStateSchema, state) ?? 'WITHDRAWN',
  };
}

/** A display name that isn't the person's own is told, too: then no line of the specification is the same. */
function sayOfMessage(scene: Scene, message: Booking): string {
  const named = (id: string, shown: string) => (shown === scene.nameOf(id) ? shown : `${scene.nameOf(id)} as ${shown}`);
  const facts: BookingFacts = {
    patient: named(message.patientId, message.patientDisplayName),
    slot: scene.nameOf(message.slotId),
    state: enumName<BookingFacts['state']>(BookingStateSchema, message.state) ?? 'CANCELLED',
    words: message.reasonForVisit,
    cancelWords: message.cancelReason,
    cancelledBy: enumName<Role>(RoleSchema, message.cancelledByRole) ?? '',
    madeAt: clockOf(scene, time(message.createTime)),
    changedAt: clockOf(scene, time(message.updateTime)),
  };
  const slot = {
    doctor: named(message.doctorId, message.doctorDisplayName),
    from: minuteOf(scene, time(message.startTime)),
    until: minuteOf(scene, time(message.endTime)),
  };
  return sayOfBooking(scene.nameOf(message.id), facts, slot);
}
