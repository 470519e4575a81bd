import type { ServiceImpl } from '@connectrpc/connect';
import {
  AddExceptionResponseSchema,
  type AvailabilityService,
  CreateScheduleResponseSchema,
  DeleteScheduleResponseSchema,
  RemoveExceptionResponseSchema,
  type SchedulePlan,
  UpdateScheduleResponseSchema,
} from '../../gen/amrutam/availability/v1/availability_pb.ts';
import type { UnitsOfWork } from '../db/unit-of-work.ts';
import { fieldInvalid } from '../fault.ts';
import { callerOf } from '../rpc/call.ts';
import { instant } from '../rpc/instant.ts';
import { answerOnce } from '../rpc/once.ts';
import { decodePage, encodePage, pageSize } from '../rpc/page.ts';
import { addException } from './add-exception.ts';
import type { PlanParts } from './complete-plan.ts';
import { createSchedule } from './create-schedule.ts';
import { deleteSchedule } from './delete-schedule.ts';
import { getSchedule } from './get-schedule.ts';
import { type ExceptionCursor, listExceptions } from './list-exceptions.ts';
import { listSchedules, type ScheduleCursor } from './list-schedules.ts';
import { type PreviewCursor, previewSchedule } from './preview-schedule.ts';
import { removeException } from './remove-exception.ts';
import { checkDate, exceptionMessage, planOf, previewMessage, scheduleMessage, windowOf } from './schedule-message.ts';
import { updateSchedule } from './update-schedule.ts';

type Handlers = Pick<
  ServiceImpl<typeof AvailabilityService>,
  | 'createSchedule'
  | 'updateSchedule'
  | 'deleteSchedule'
  | 'getSchedule'
  | 'listSchedules'
  | 'previewSchedule'
  | 'addException'
  | 'removeException'
  | 'listExceptions'
>;

/** The handlers of the service's methods about schedules. */
export function scheduleHandlers(units: UnitsOfWork): Handlers {
  return {
    createSchedule({ requestId, plan }, ctx) {
      const { userId } = callerOf(ctx);
      const asked = planOf(plan as SchedulePlan);
      const request = { schema: CreateScheduleResponseSchema, requestId, asks: [asked] };
      return answerOnce(units, ctx, request, async (work) => {
        const { schedule, changes } = await createSchedule(work, userId, asked);
        return { schedule: scheduleMessage(schedule), changes };
      });
    },
    updateSchedule({ requestId, scheduleId, plan, updateMask }, ctx) {
      const doctorId = callerOf(ctx).userId;
      const parts = partsOf(plan as SchedulePlan, updateMask?.paths);
      const request = { schema: UpdateScheduleResponseSchema, requestId, asks: [scheduleId, parts] };
      return answerOnce(units, ctx, request, async (work) => {
        const { schedule, changes } = await updateSchedule(work, { scheduleId, doctorId, parts });
        return { schedule: scheduleMessage(schedule), changes };
      });
    },
    deleteSchedule({ requestId, scheduleId }, ctx) {
      const { userId } = callerOf(ctx);
      const request = { schema: DeleteScheduleResponseSchema, requestId, asks: [scheduleId] };
      return answerOnce(units, ctx, request, async (work) => ({
        changes: await deleteSchedule(work, scheduleId, userId),
      }));
    },
    async getSchedule({ scheduleId }, ctx) {
      const { userId } = callerOf(ctx);
      return {
        schedule: scheduleMessage(await units.read(ctx.signal, (em) => getSchedule(em, scheduleId, userId))),
      };
    },
    async listSchedules({ pageSize: size, pageToken }, ctx) {
      const { userId } = callerOf(ctx);
      const query = ['schedules', userId];
      const after = decodePage(query, pageToken, ['uuid']) as ScheduleCursor | undefined;
      const page = { size: pageSize(size), after };
      const { rows, next } = await units.read(ctx.signal, (em) => listSchedules(em, userId, page));
      return { schedules: rows.map(scheduleMessage), nextPageToken: next ? encodePage(query, next) : '' };
    },
    async previewSchedule({ scheduleId, plan, from, until, pageSize: size, pageToken }, ctx) {
      const asked = {
        doctorId: callerOf(ctx).userId,
        scheduleId,
        plan: plan && planOf(plan),
        span: { from: instant(from) as Date, until: instant(until) as Date },
      };
      const after = decodePage(asked, pageToken, ['instant']) as PreviewCursor | undefined;
      const page = { size: pageSize(size), after };
      const { rows, next } = await units.read(ctx.signal, (em, now) => previewSchedule(em, asked, { page, now }));
      return { slots: rows.map(previewMessage), nextPageToken: next ? encodePage(asked, next) : '' };
    },
    addException({ requestId, date, windows }, ctx) {
      const asked = {
        doctorId: callerOf(ctx).userId,
        date: checkDate('date', date),
        windows: windows.map(windowOf),
      };
      const request = { schema: AddExceptionResponseSchema, requestId, asks: [asked.date, asked.windows] };
      return answerOnce(units, ctx, request, async (work) => {
        const { exception, changes } = await addException(work, asked);
        return { exception: exceptionMessage(exception), changes };
      });
    },
    removeException({ requestId, exceptionId }, ctx) {
      const { userId } = callerOf(ctx);
      const request = { schema: RemoveExceptionResponseSchema, requestId, asks: [exceptionId] };
      return answerOnce(units, ctx, request, async (work) => ({
        changes: await removeException(work, exceptionId, userId),
      }));
    },
    async listExceptions({ fromDate, untilDate, pageSize: size, pageToken }, ctx) {
      const doctorId = callerOf(ctx).userId;
      const listing = {
        doctorId,
        fromDate: checkDate('from_date', fromDate),
        untilDate: checkDate('until_date', untilDate),
      };
      const after = decodePage(listing, pageToken, ['date']) as ExceptionCursor | undefined;
      const page = { size: pageSize(size), after };
      const { rows, next } = await units.read(ctx.signal, (em) => listExceptions(em, listing, page));
      return { exceptions: rows.map(exceptionMessage), nextPageToken: next ? encodePage(listing, next) : '' };
    },
  };
}

const MASKABLE: Readonly<Record<string, keyof PlanParts>> = {
  time_zone: 'timeZone',
  from_date: 'fromDate',
  until_date: 'untilDate',
  windows: 'windows',
  advance_days: 'advanceDays',
};

/** What the mask - or, without one, the fields that aren't empty - asks to change. Throws FIELD_INVALID. */
function partsOf(plan: SchedulePlan, paths: readonly string[] = []): PlanParts {
  const unknown = paths.findIndex((path) => path !== '*' && !Object.hasOwn(MASKABLE, path));
  if (unknown >= 0) {
    const names = Object.keys(MASKABLE).join(', ');
    throw fieldInvalid(`update_mask.paths[${unknown}]`, `must be one of ${names}, *`, 'update_mask');
  }
  const named = paths.includes('*') ? Object.keys(MASKABLE) : paths;
  const all = planOf(plan);
  const set = Object.entries(MASKABLE).filter(([path, name]) => {
    const value = all[name];
    return named.length ? named.includes(path) : Array.isArray(value) ? value.length > 0 : Boolean(value);
  });
  return Object.fromEntries(set.map(([, name]) => [name, all[name]]));
}
