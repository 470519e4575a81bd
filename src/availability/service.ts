import { create, type DescMessage, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { EntityManager } from '@mikro-orm/postgresql';
import {
  type AvailabilityService,
  type Doctor,
  GetDoctorResponseSchema,
  ListSlotsResponseSchema,
  PublishSlotsResponseSchema,
  SearchDoctorsResponseSchema,
  SlotStateSchema,
  WithdrawSlotResponseSchema,
} from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { checkTimeZone } from '../auth/time-zone.ts';
import type { UnitsOfWork } from '../db/unit-of-work.ts';
import { Fault, fieldInvalid } from '../fault.ts';
import { callerOf, callOf } from '../rpc/call.ts';
import { encodedAnswer } from '../rpc/encoded-answer.ts';
import { enumNames } from '../rpc/enum-name.ts';
import { instant } from '../rpc/instant.ts';
import { answerOnce } from '../rpc/once.ts';
import { decodePage, encodePage, pageSize } from '../rpc/page.ts';
import { getDoctor } from './get-doctor.ts';
import { getSlot } from './get-slot.ts';
import { listSlots, type SlotCursor } from './list-slots.ts';
import type { ListingCache } from './listing-cache.ts';
import type { MadeOf } from './listing-history.ts';
import { doctorMessage, slotMessage } from './message.ts';
import { publishSlots } from './publish-slots.ts';
import { scheduleHandlers } from './schedule-service.ts';
import { type DoctorCursor, searchDoctors } from './search-doctors.ts';
import type { SlotState } from './slot.entity.ts';
import { type ProfileChanges, updateDoctorProfile } from './update-doctor-profile.ts';
import { seesAll } from './visibility.ts';
import { withdrawSlot } from './withdraw-slot.ts';

/** The handlers of amrutam.availability.v1.AvailabilityService. */
export function availabilityService(deps: {
  units: UnitsOfWork;
  listings: ListingCache;
}): ServiceImpl<typeof AvailabilityService> {
  const { units } = deps;
  const answer = answerListing(deps);
  return {
    getDoctor({ doctorId }, ctx) {
      const { caller } = callOf(ctx);
      return answer(ctx, GetDoctorResponseSchema, {
        key: seesAll(caller, doctorId) ? undefined : ['doctor', doctorId],
        read: (em, now) => getDoctor(em, doctorId, { caller, now }),
        message: (view) => ({ doctor: doctorMessage(view) }),
        of: () => ({ doctors: [doctorId], also: 'nothing' }),
        begins: ({ nextOpenAt }) => [nextOpenAt],
      });
    },
    searchDoctors({ query, specialty, language, openFrom, openUntil, pageSize: size, pageToken }, ctx) {
      const search = { query, specialty, language, open: { from: instant(openFrom), until: instant(openUntil) } };
      const after = decodePage(search, pageToken, ['number', 'text', 'uuid']) as DoctorCursor | undefined;
      const page = { size: pageSize(size), after };
      return answer(ctx, SearchDoctorsResponseSchema, {
        key: ['search', search, page],
        read: (em, now) => searchDoctors(em, search, { page, now }),
        message: ({ rows, next }) => ({
          doctors: rows.map(doctorMessage),
          nextPageToken: next ? encodePage(search, next) : '',
        }),
        // Whether a doctor has time in a range decides who is listed at all.
        of: ({ rows }) => ({
          doctors: rows.map(({ id }) => id),
          also: openFrom || openUntil ? 'everything' : 'profiles',
        }),
        begins: ({ rows }) => rows.map(({ nextOpenAt }) => nextOpenAt),
      });
    },
    async updateDoctorProfile({ doctor: wanted, updateMask }, ctx) {
      const { userId } = callerOf(ctx);
      if (wanted?.id && wanted.id !== userId) throw new Fault('DOCTOR_NOT_FOUND', 'no such doctor');
      const changes = profileChanges(wanted as Doctor, updateMask?.paths);
      await units.write(callOf(ctx), (work) => updateDoctorProfile(work, userId, changes));
      const { caller } = callOf(ctx);
      return {
        doctor: doctorMessage(await units.read(ctx.signal, (em, now) => getDoctor(em, userId, { caller, now }))),
      };
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
    ...scheduleHandlers(units),
    async getSlot({ slotId }, ctx) {
      const { caller } = callOf(ctx);
      return { slot: slotMessage(await units.read(ctx.signal, (em, now) => getSlot(em, slotId, { caller, now }))) };
    },
    listSlots({ doctorId, from, until, states, pageSize: size, pageToken }, ctx) {
      const { caller } = callOf(ctx);
      const listing = {
        doctorId,
        from: instant(from),
        until: instant(until),
        states: enumNames<SlotState>(SlotStateSchema, states),
      };
      const after = decodePage(listing, pageToken, ['instant', 'uuid']) as SlotCursor | undefined;
      const page = { size: pageSize(size), after };
      return answer(ctx, ListSlotsResponseSchema, {
        key: seesAll(caller, doctorId) ? undefined : ['slots', listing, page],
        read: (em, now) => listSlots(em, listing, { page, caller, now }),
        message: ({ rows, next }) => ({
          slots: rows.map(slotMessage),
          nextPageToken: next ? encodePage(listing, next) : '',
        }),
        of: () => ({ doctors: [doctorId], also: 'nothing' }),
        begins: ({ rows }) => [rows[0]?.startAt],
      });
    },
  };
}

/** A question about listings. */
interface Question<T, D extends DescMessage> {
  /** What is asked, where everybody gets the same answer; undefined where the caller sees more than others. */
  readonly key: readonly unknown[] | undefined;
  readonly read: (em: EntityManager, now: Date) => Promise<T>;
  readonly message: (found: T) => MessageInitShape<D>;
  readonly of: (found: T) => MadeOf;
  /** When slots that it shows begin. */
  readonly begins: (found: T) => readonly (Date | undefined)[];
}

/** Answers questions about listings: from the cache those to which everybody gets the same answer. */
function answerListing({ units, listings }: { units: UnitsOfWork; listings: ListingCache }) {
  return async <T, D extends DescMessage>(
    ctx: HandlerContext,
    schema: D,
    { key, read, message, of, begins }: Question<T, D>,
  ): Promise<MessageShape<D>> => {
    if (key === undefined) return create(schema, message(await units.list(ctx.signal, read)));
    const readListing = async (signal: AbortSignal) => {
      const found = await units.list(signal, read);
      const times = begins(found).filter((time) => time !== undefined);
      const until = times.length ? new Date(Math.min(...times.map(Number))) : undefined;
      return { bytes: toBinary(schema, create(schema, message(found))), of: of(found), until };
    };
    return encodedAnswer(ctx, schema, await listings.answer(JSON.stringify(key), readListing, ctx.signal));
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
