import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import {
  type Booking as BookingMessage,
  BookingSchema,
  BookingState,
  SlotAlternativesSchema,
} from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { slotMessage } from '../availability/message.ts';
import type { Slot } from '../availability/slot.entity.ts';
import type { FaultDetail } from '../fault.ts';
import type { NamedBooking } from './lock-booking.ts';

/** A booking as its patient, its doctor and administrators see it. */
export function bookingMessage({ booking, doctorDisplayName, patientDisplayName }: NamedBooking): BookingMessage {
  return create(BookingSchema, {
    id: booking.id,
    slotId: booking.slotId,
    doctorId: booking.doctorId,
    doctorDisplayName,
    patientId: booking.patientId,
    patientDisplayName,
    startTime: timestampFromDate(booking.startAt),
    endTime: timestampFromDate(booking.endAt),
    state: BookingState[booking.state],
    reasonForVisit: booking.reasonForVisit,
    cancelReason: booking.cancelReason,
    cancelledByRole: booking.cancelledByRole ? Role[booking.cancelledByRole] : Role.UNSPECIFIED,
    createTime: timestampFromDate(booking.createdAt),
    updateTime: timestampFromDate(booking.updatedAt),
  });
}

/** The detail of SLOT_TAKEN that offers other slots. */
export function slotAlternatives(slots: readonly Slot[]): FaultDetail {
  return { desc: SlotAlternativesSchema, value: create(SlotAlternativesSchema, { slots: slots.map(slotMessage) }) };
}
