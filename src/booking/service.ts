import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { EntityManager } from '@mikro-orm/postgresql';
import {
  type BookingService,
  BookingStateSchema,
  BookSlotResponseSchema,
  CancelBookingResponseSchema,
  CheckInResponseSchema,
  CompleteConsultationResponseSchema,
  MarkNoShowResponseSchema,
  RescheduleBookingResponseSchema,
  StartConsultationResponseSchema,
} from '../../gen/amrutam/booking/v1/booking_pb.ts';
import type { UnitsOfWork } from '../db/unit-of-work.ts';
import type { Subject, Work } from '../db/work.ts';
import { fieldInvalid } from '../fault.ts';
import { callerOf, callOf } from '../rpc/call.ts';
import { enumNames } from '../rpc/enum-name.ts';
import { instant } from '../rpc/instant.ts';
import { answerOnce } from '../rpc/once.ts';
import { decodePage, encodePage, pageSize } from '../rpc/page.ts';
import { bookSlot } from './book-slot.ts';
import type { BookingState } from './booking.entity.ts';
import { cancelBooking } from './cancel-booking.ts';
import { checkIn } from './check-in.ts';
import { completeConsultation } from './complete-consultation.ts';
import { getBooking } from './get-booking.ts';
import { type BookingCursor, listBookings } from './list-bookings.ts';
import type { NamedBooking } from './lock-booking.ts';
import { markNoShow } from './mark-no-show.ts';
import { bookingMessage } from './message.ts';
import { rescheduleBooking } from './reschedule-booking.ts';
import { startConsultation } from './start-consultation.ts';

/** The handlers of amrutam.booking.v1.BookingService. */
export function bookingService({ units }: { units: UnitsOfWork }): ServiceImpl<typeof BookingService> {
  const read = readOnRecord(units);
  return {
    bookSlot({ requestId, slotId, reasonForVisit }, ctx) {
      const { userId: patientId } = callerOf(ctx);
      const request = { schema: BookSlotResponseSchema, requestId, slotId, asks: [slotId, reasonForVisit] };
      return answerOnce(units, ctx, request, (work) => answer(bookSlot(work, { slotId, patientId, reasonForVisit })));
    },
    async getBooking({ bookingId, purpose }, ctx) {
      const subject = { entityType: 'booking', entityId: bookingId, purpose } as const;
      const find = (em: EntityManager) => getBooking(em, bookingId, callerOf(ctx));
      return answer(read(ctx, { subject, read: find, seen: (found) => [found] }));
    },
    async listBookings({ states, from, until, purpose, doctorId, patientId, pageSize: size, pageToken }, ctx) {
      const listing = {
        states: enumNames<BookingState>(BookingStateSchema, states),
        from: instant(from),
        until: instant(until),
        doctorId,
        patientId,
      };
      const after = decodePage(listing, pageToken, ['instant', 'uuid']) as BookingCursor | undefined;
      const page = { size: pageSize(size), after };
      const subject = { entityType: 'booking', purpose } as const;
      const find = (em: EntityManager) => listBookings(em, listing, { page, caller: callerOf(ctx) });
      const { rows, next } = await read(ctx, { subject, read: find, seen: (found) => found.rows });
      return { bookings: rows.map(bookingMessage), nextPageToken: next ? encodePage(listing, next) : '' };
    },
    cancelBooking({ requestId, bookingId, reason }, ctx) {
      const { role: by } = callerOf(ctx);
      const request = { schema: CancelBookingResponseSchema, requestId, asks: [bookingId, reason] };
      return answerOnce(units, ctx, request, (work) => answer(cancelBooking(work, { bookingId, reason, by })));
    },
    rescheduleBooking({ requestId, bookingId, newSlotId }, ctx) {
      const request = {
        schema: RescheduleBookingResponseSchema,
        requestId,
        slotId: newSlotId,
        asks: [bookingId, newSlotId],
      };
      return answerOnce(units, ctx, request, (work) => answer(rescheduleBooking(work, { bookingId, newSlotId })));
    },
    checkIn({ requestId, bookingId }, ctx) {
      const request = { schema: CheckInResponseSchema, requestId, asks: [bookingId] };
      return answerOnce(units, ctx, request, (work) => answer(checkIn(work, bookingId)));
    },
    startConsultation({ requestId, bookingId }, ctx) {
      const request = { schema: StartConsultationResponseSchema, requestId, asks: [bookingId] };
      return answerOnce(units, ctx, request, (work) => answer(startConsultation(work, bookingId)));
    },
    completeConsultation({ requestId, bookingId }, ctx) {
      const request = { schema: CompleteConsultationResponseSchema, requestId, asks: [bookingId] };
      return answerOnce(units, ctx, request, (work) => answer(completeConsultation(work, bookingId)));
    },
    markNoShow({ requestId, bookingId }, ctx) {
      const request = { schema: MarkNoShowResponseSchema, requestId, asks: [bookingId] };
      return answerOnce(units, ctx, request, (work) => answer(markNoShow(work, bookingId)));
    },
  };
}

async function answer(found: Promise<NamedBooking>) {
  return { booking: bookingMessage(await found) };
}

/**
 * Reads bookings. An administrator must say why, and the read goes on record, a line for each patient seen, with the
 * transaction that makes it.
 */
function readOnRecord(units: UnitsOfWork) {
  return async <T>(ctx: HandlerContext, { subject, read, seen }: RecordedRead<T>): Promise<T> => {
    if (callerOf(ctx).role !== 'ADMINISTRATOR') return units.read(ctx.signal, read);
    if (!subject.purpose?.trim()) {
      throw fieldInvalid('purpose', 'administrators must say why they read patient data', 'purpose');
    }
    const onRecord = async (work: Work): Promise<T> => {
      work.about(subject);
      await work.lock({});
      const found = await read(work.em);
      work.about({ patientIds: [...new Set(seen(found).map(({ booking }) => booking.patientId))] });
      return found;
    };
    // Nothing that was read is changed, so nothing but the record is written.
    return units.write<T>(callOf(ctx), onRecord);
  };
}

interface RecordedRead<T> {
  readonly subject: Subject;
  readonly read: (em: EntityManager) => Promise<T>;
  readonly seen: (found: T) => readonly NamedBooking[];
}
