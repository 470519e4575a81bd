import { Accounts } from './0001-accounts.ts';
import { SlotsAndBookings } from './0002-slots-and-bookings.ts';
import { Idempotency } from './0003-idempotency.ts';
import { Audit } from './0004-audit.ts';
import { SignInPlaces } from './0005-sign-in-places.ts';
import { BookingInPlace } from './0006-booking-in-place.ts';
import { ListingChanges } from './0007-listing-changes.ts';
import { GraphileWorker20 } from './0008-graphile-worker-20.ts';
import { AuditSeals } from './0009-audit-seals.ts';
import { Mail } from './0010-mail.ts';
import { Schedules } from './0011-schedules.ts';
import { Timelines } from './0012-timelines.ts';

/** Every migration in order. They only go forward; a name that was released never changes. */
export const migrations = [
  { name: '0001-accounts', class: Accounts },
  { name: '0002-slots-and-bookings', class: SlotsAndBookings },
  { name: '0003-idempotency', class: Idempotency },
  { name: '0004-audit', class: Audit },
  { name: '0005-sign-in-places', class: SignInPlaces },
  { name: '0006-booking-in-place', class: BookingInPlace },
  { name: '0007-listing-changes', class: ListingChanges },
  { name: '0008-graphile-worker-20', class: GraphileWorker20 },
  { name: '0009-audit-seals', class: AuditSeals },
  { name: '0010-mail', class: Mail },
  { name: '0011-schedules', class: Schedules },
  { name: '0012-timelines', class: Timelines },
];
