import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import {
  type AvailabilityService,
  type Doctor,
  PublishSlotsResponseSchema,
  SlotStateSchema,
  WithdrawSlotResponseSchema,
} from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { checkTimeZone } from '../auth/time-zone.ts';
import type { UnitsOfWork } from '../db/unit-of-work.ts';
import { Fault, fieldInvalid } from '../fault.ts';
import { callerOf, callOf } from '../rpc/call.ts';
import { enumNames } from '../rpc/enum-name.ts';
import { instant } from '../rpc/instant.ts';
import { answerOnce } from '../rpc/once.ts';
import { decodePage, encodePage, pageSize } from '../rpc/page.ts';
import { getDoctor } from './get-doctor.ts';
import { getSlot } from './get-slot.ts';
import { listSlots, type SlotCursor } from './list-slots.ts';
import { doctorMessage, slotMessage } from './message.ts';
import { publishSlots } from './publish-slots.ts';
import { type DoctorCursor, searchDoctors } from './search-doctors.ts';
import type { SlotState } from './slot.entity.ts';
import { type ProfileChanges, updateDoctorProfile } from './update-doctor-profile.ts';
import { withdrawSlot } from './withdraw-slot.ts';

/** The handlers of amrutam.availability.v1.AvailabilityService. */
export function availabilityService({ units }: { units: UnitsOfWork }): ServiceImpl<typeof AvailabilityService> {
  const doctor = async (doctorId: string, ctx: HandlerContext) => {
    const { caller } = callOf(ctx);
    return {
      doctor: doctorMessage(await units.read(ctx.signal, (em, now) => getDoctor(em, doctorId, { caller, now }))),
    };
  };
  return {
    getDoctor: ({ doctorId }, ctx) => doctor(doctorId, ctx),
    async searchDoctors({ query, specialty, language, openFrom, openUntil, pageSize: size, pageToken }, ctx) {
      const search = { query, specialty, language, open: { from: instant(openFrom), until: instant(openUntil) } };
      const after = decodePage(search, pageToken, ['number', 'text', 'uuid']) as DoctorCursor | undefined;
      const page = { size: pageSize(size), after };
      const { rows, next } = await units.read(ctx.signal, (em, now) => searchDoctors(em, search, { page, now }));
      return { doctors: rows.map(doctorMessage), nextPageToken: next ? encodePage(search, next) : '' };
    },
    async updateDoctorProfile({ doctor: wanted, updateMask }, ctx) {
      const { userId } = callerOf(ctx);
      if (wanted?.id && wanted.id !== userId) throw new Fault('DOCTOR_NOT_FOUND', 'no such doctor');
      const changes = profileChanges(wanted as Doctor, updateMask?.paths);
      await units.write(callOf(ctx), (work) => updateDoctorProfile(work, userId, changes));
      return doctor(userId, ctx);
    },
    publishSlots({ requestId, slots }, ctx) {
      const { userId } = callerOf(ctx);
      const times = slots.map(({ startTime, endTime }) => ({
        startAt: instant(startTime) as Date,
        endAt: instant(endTime) as Date,
      }));
      const request = { schema: PublishSlotsResponseSchema, requestId, asks: [times] };
      return answerOnce(units, ctx, request, async (work) => ({
        slots: (await publishSlots(work, userId, times)).map(slotMessage),
      }));
    },
    withdrawSlot({ requestId, slotId }, ctx) {
      const { userId } = callerOf(ctx);
      const request = { schema: WithdrawSlotResponseSchema, requestId, asks: [slotId], slotId };
      return answerOnce(units, ctx, request, async (work) => ({
        slot: slotMessage(await withdrawSlot(work, { slotId, doctorId: userId })),
      }));
    },
    async getSlot({ slotId }, ctx) {
      const { caller } = callOf(ctx);
      return { slot: slotMessage(await units.read(ctx.signal, (em, now) => getSlot(em, slotId, { caller, now }))) };
    },
    async listSlots({ doctorId, from, until, states, pageSize: size, pageToken }, ctx) {
      const { caller } = callOf(ctx);
      const listing = {
        doctorId,
        from: instant(from),
        until: instant(until),
        states: enumNames<SlotState>(SlotStateSchema, states),
      };
      const after = decodePage(listing, pageToken, ['instant', 'uuid']) as SlotCursor | undefined;
      const page = { size: pageSize(size), after };
      const { rows, next } = await units.read(ctx.signal, (em, now) => listSlots(em, listing, { page, caller, now }));
      return { slots: rows.map(slotMessage), nextPageToken: next ? encodePage(listing, next) : '' };
    },
  };
}

const MASKABLE = ['display_name', 'specialties', 'languages', 'bio', 'time_zone'];

/** What the mask - or, without one, the fields that aren't empty - asks to change. Throws FIELD_INVALID. */
function profileChanges(
  { displayName, specialties, languages, bio, timeZone }: Doctor,
  paths: readonly string[] = [],
): ProfileChanges {
  const unknown = paths.findIndex((path) => path !== '*' && !MASKABLE.includes(path));
  if (unknown >= 0)
    throw fieldInvalid(`update_mask.paths[${unknown}]`, `must be one of ${MASKABLE.join(', ')}, *`, 'update_mask');
  const named = paths.includes('*') ? MASKABLE : paths;
  const set = (path: string, filled: boolean) => (named.length ? named.includes(path) : filled);
  if (set('display_name', displayName !== '') && displayName.trim() === '')
    throw fieldInvalid('doctor.display_name', 'must not be empty', 'required');
  return {
    ...(set('display_name', displayName !== '') && { displayName }),
    ...(set('specialties', specialties.length > 0) && { specialties }),
    ...(set('languages', languages.length > 0) && { languages }),
    ...(set('bio', bio !== '') && { bio }),
    ...(set('time_zone', timeZone !== '') && { timeZone: checkTimeZone('doctor.time_zone', timeZone) }),
  };
}
