import { RefreshTokenSchema } from './auth/refresh-token.entity.ts';
import { SessionSchema } from './auth/session.entity.ts';
import { SignInPlaceSchema } from './auth/sign-in-place.entity.ts';
import { UserSchema } from './auth/user.entity.ts';
import { AgendaSchema } from './availability/agenda.entity.ts';
import { DoctorSchema } from './availability/doctor.entity.ts';
import { ScheduleSchema } from './availability/schedule.entity.ts';
import { ScheduleExceptionSchema } from './availability/schedule-exception.entity.ts';
import { SlotSchema } from './availability/slot.entity.ts';
import { BookingSchema } from './booking/booking.entity.ts';
import { MailSchema } from './mail/mail.entity.ts';

/** Everything that MikroORM manages. The audit trail and the kept answers only grow and are written as plain statements. */
export const entities = [
  UserSchema,
  SignInPlaceSchema,
  SessionSchema,
  RefreshTokenSchema,
  DoctorSchema,
  SlotSchema,
  ScheduleSchema,
  ScheduleExceptionSchema,
  AgendaSchema,
  BookingSchema,
  MailSchema,
];
