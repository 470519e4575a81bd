import { toBinary } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { RoleSchema } from '../../gen/amrutam/access/v1/access_pb.ts';
import { type AdminService, BucketSchema, GetAnalyticsResponseSchema } from '../../gen/amrutam/admin/v1/admin_pb.ts';
import { UserStateSchema } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { DoctorStateSchema } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { type AuditCursor, exportAuditEvents, listAuditEvents } from '../audit/list-audit-events.ts';
import { auditEventMessage, verificationMessage } from '../audit/message.ts';
import type { SealKeys } from '../audit/seal-keys.ts';
import { verifyAuditLog } from '../audit/verify-audit-log.ts';
import type { LiveSessions } from '../auth/live-sessions.ts';
import { checkTimeZone } from '../auth/time-zone.ts';
import { getDoctor } from '../availability/get-doctor.ts';
import { doctorMessage } from '../availability/message.ts';
import type { UnitsOfWork } from '../db/unit-of-work.ts';
import type { Work } from '../db/work.ts';
import { fieldInvalid } from '../fault.ts';
import { callerOf, callOf } from '../rpc/call.ts';
import { encodedAnswer } from '../rpc/encoded-answer.ts';
import { enumName } from '../rpc/enum-name.ts';
import { instant } from '../rpc/instant.ts';
import { decodePage, encodePage, pageSize } from '../rpc/page.ts';
import type { BucketUnit } from './buckets.ts';
import { approveDoctor, suspendDoctor } from './change-doctor-state.ts';
import { reinstateUser, suspendUser } from './change-user-state.ts';
import { getAnalytics } from './get-analytics.ts';
import { listUsers, type UserCursor, type UserListing } from './list-users.ts';
import { analyticsMessage, managedUserMessage } from './message.ts';
import type { ReportCache } from './report-cache.ts';

type DoctorChange = (work: Work, doctorId: string) => Promise<number>;

/** What they are made of. */
export interface AdminParts {
  readonly units: UnitsOfWork;
  readonly reports: ReportCache;
  readonly sessions: Pick<LiveSessions, 'check'>;
  /** The keys of seals as they stand now. */
  readonly sealKeys: () => Promise<Pick<SealKeys, 'verifies'>>;
}

/** Records in each part of an export. */
const EXPORTED = 250;
/** Seals that VerifyAuditLog looks at, and the most that it does when asked. */
const SEALS = { usual: 100, most: 1_000 };

/** Milliseconds after which it answers what it has. */
const VERIFYING_MS = 2_000;

/** The handlers of amrutam.admin.v1.AdminService. */
export function adminService({ units, reports, sessions, sealKeys }: AdminParts): ServiceImpl<typeof AdminService> {
  const changeDoctor = async (change: DoctorChange, doctorId: string, ctx: HandlerContext) => {
    const caller = callerOf(ctx);
    const upcoming = await units.write(callOf(ctx), (work) => change(work, doctorId));
    const doctor = await units.read(ctx.signal, (em, now) => getDoctor(em, doctorId, { caller, now }));
    return { doctor: doctorMessage(doctor), upcomingBookings: BigInt(upcoming) };
  };
  return {
    async getAnalytics({ from, until, bucket, timeZone, doctorId }, ctx) {
      const ask = {
        from: instant(from) as Date,
        until: instant(until) as Date,
        unit: enumName<BucketUnit>(BucketSchema, bucket) ?? 'DAY',
        timeZone: checkTimeZone('time_zone', timeZone),
        doctorId,
      };
      const read = async (signal: AbortSignal) =>
        toBinary(
          GetAnalyticsResponseSchema,
          analyticsMessage(await units.report(signal, (em) => getAnalytics(em, ask))),
        );
      return encodedAnswer(
        ctx,
        GetAnalyticsResponseSchema,
        await reports.answer(JSON.stringify(ask), read, ctx.signal),
      );
    },
    async listUsers({ role, state, doctorState, query, pageSize: size, pageToken }, ctx) {
      const listing: UserListing = {
        role: enumName(RoleSchema, role),
        state: enumName(UserStateSchema, state),
        doctorState: enumName(DoctorStateSchema, doctorState),
        query,
      };
      const after = decodePage(listing, pageToken, ['uuid']) as UserCursor | undefined;
      const { rows, next } = await units.list(ctx.signal, (em) =>
        listUsers(em, listing, { size: pageSize(size), after }),
      );
      return { users: rows.map(managedUserMessage), nextPageToken: next ? encodePage(listing, next) : '' };
    },
    async suspendUser({ userId }, ctx) {
      if (userId === callerOf(ctx).userId)
        throw fieldInvalid('user_id', "administrators can't suspend themselves", 'not_oneself');
      const { user, upcoming } = await units.write(callOf(ctx), (work) => suspendUser(work, userId));
      return { user: managedUserMessage(user), upcomingBookings: BigInt(upcoming) };
    },
    async reinstateUser({ userId }, ctx) {
      return { user: managedUserMessage(await units.write(callOf(ctx), (work) => reinstateUser(work, userId))) };
    },
    approveDoctor: ({ doctorId }, ctx) => changeDoctor(approveDoctor, doctorId, ctx),
    suspendDoctor: ({ doctorId }, ctx) => changeDoctor(suspendDoctor, doctorId, ctx),
    async listAuditEvents(
      { actorId, action, entityType, entityId, patientId, pageSize: size, pageToken, ...range },
      ctx,
    ) {
      const [from, until] = [instant(range.from), instant(range.until)];
      const listing = { actorId, action, entityType, entityId, patientId, from, until };
      const after = decodePage(listing, pageToken, ['instant', 'uuid']) as AuditCursor | undefined;
      const { rows, next } = await units.list(ctx.signal, (em) =>
        listAuditEvents(em, listing, { size: pageSize(size), after }),
      );
      return { events: rows.map(auditEventMessage), nextPageToken: next ? encodePage(listing, next) : '' };
    },
    async verifyAuditLog({ firstSeal, maxSeals, headSeal, headRoot }, ctx) {
      if ((headSeal === 0) !== (headRoot === ''))
        throw fieldInvalid(headRoot ? 'head_seal' : 'head_root', 'head_seal and head_root belong together', 'head');
      if (headRoot && headRoot.length !== 64) throw fieldInvalid('head_root', 'a root has 64 digits', 'root');
      const ask = {
        from: firstSeal,
        mostSeals: Math.min(maxSeals || SEALS.usual, SEALS.most),
        enoughMs: Math.min(VERIFYING_MS, (ctx.timeoutMs() ?? VERIFYING_MS) / 2),
        head: headRoot ? { number: headSeal, root: headRoot } : undefined,
        keys: await sealKeys(),
      };
      return verificationMessage(await verifyAuditLog((work) => units.report(ctx.signal, work), ask));
    },
    async *exportAuditEvents({ purpose, actorId, action, entityType, entityId, patientId, ...range }, ctx) {
      const { signal } = ctx;
      if (!purpose.trim())
        throw fieldInvalid('purpose', 'administrators must say why they export the trail', 'purpose');
      const about = { entityType: 'audit_log', purpose, ...(patientId && { patientId }) } as const;
      const begun = await units.write(callOf(ctx), async (work) => {
        work.about(about);
        return (await work.lock({})).now;
      });
      const until = new Date(Math.min(+begun, +(instant(range.until) ?? begun)));
      const listing = { actorId, action, entityType, entityId, patientId, from: instant(range.from), until };
      // Nothing is held while the client reads: each part is read for itself when it is asked for.
      for (let after: AuditCursor | undefined, more = true; more; more = after !== undefined) {
        await sessions.check(callerOf(ctx), signal);
        const page = { size: EXPORTED, after };
        const { rows, next } = await units.report(signal, (em) => exportAuditEvents(em, listing, page));
        if (rows.length) yield { events: rows.map(auditEventMessage) };
        after = next;
      }
    },
  };
}
