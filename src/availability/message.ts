import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import {
  type Doctor as DoctorMessage,
  DoctorSchema,
  DoctorState,
  type Slot as SlotMessage,
  SlotSchema,
  SlotState,
} from '../../gen/amrutam/availability/v1/availability_pb.ts';
import type { DoctorView } from './doctor-view.ts';
import type { Slot } from './slot.entity.ts';

/** A slot as clients see it. */
export function slotMessage({ id, doctorId, startAt, endAt, state }: Slot): SlotMessage {
  return create(SlotSchema, {
    id,
    doctorId,
    startTime: timestampFromDate(startAt),
    endTime: timestampFromDate(endAt),
    state: SlotState[state],
  });
}

/** A doctor as clients see one. */
export function doctorMessage({ nextOpenAt, state, ...doctor }: DoctorView): DoctorMessage {
  return create(DoctorSchema, {
    ...doctor,
    state: DoctorState[state],
    nextOpenTime: nextOpenAt && timestampFromDate(nextOpenAt),
  });
}
