import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import {
  type Figures as FiguresMessage,
  FiguresSchema,
  type GetAnalyticsResponse,
  GetAnalyticsResponseSchema,
  type User as UserMessage,
  UserSchema,
} from '../../gen/amrutam/admin/v1/admin_pb.ts';
import { UserState } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { DoctorState } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import type { Analytics, Figures } from './get-analytics.ts';
import type { ManagedUser } from './managed-user.ts';

/** An account as administrators see it. */
export function managedUserMessage(user: ManagedUser): UserMessage {
  return create(UserSchema, {
    id: user.id,
    email: user.email,
    displayName: user.display_name,
    role: Role[user.role],
    state: UserState[user.state],
    doctorState: user.doctor_state ? DoctorState[user.doctor_state] : DoctorState.UNSPECIFIED,
    timeZone: user.time_zone,
    createTime: timestampFromDate(user.created_at),
  });
}

/** A report as administrators see it. */
export function analyticsMessage({ buckets, totals, busiest }: Analytics): GetAnalyticsResponse {
  return create(GetAnalyticsResponseSchema, {
    buckets: buckets.map(figuresMessage),
    totals: figuresMessage(totals),
    busiestDoctors: busiest.map((doctor) => ({
      doctorId: doctor.doctor_id,
      displayName: doctor.display_name,
      bookings: BigInt(doctor.bookings),
      bookedMinutes: BigInt(doctor.minutes),
    })),
  });
}

function figuresMessage(figures: Figures): FiguresMessage {
  const { made, refusals, medianLead, publishedMinutes, bookedMinutes } = figures;
  const attempts = made + refusals.reduce((sum, { count }) => sum + count, 0);
  return create(FiguresSchema, {
    startTime: timestampFromDate(figures.startAt),
    endTime: timestampFromDate(figures.endAt),
    bookingsMade: BigInt(made),
    refusals: refusals.map(({ reason, count }) => ({ reason, count: BigInt(count) })),
    bookingSuccessRate: attempts ? made / attempts : undefined,
    cancelled: BigInt(figures.cancelled),
    completed: BigInt(figures.completed),
    noShows: BigInt(figures.noShows),
    medianLeadTime: medianLead === undefined ? undefined : durationFromMs(Math.round(medianLead * 1000)),
    publishedMinutes: BigInt(publishedMinutes),
    bookedMinutes: BigInt(bookedMinutes),
    utilisation: publishedMinutes ? bookedMinutes / publishedMinutes : undefined,
  });
}
