import { randomUUIDv7 as uuid } from 'node:crypto';
import { defineEntity, p } from '@mikro-orm/postgresql';
import type { Slot } from '../availability/slot.entity.ts';
import type { RoleName } from '../caller.ts';
import { Fault } from '../fault.ts';

/** Where a booking stands. */
export type BookingState = 'CONFIRMED' | 'CHECKED_IN' | 'IN_PROGRESS' | 'COMPLETED' | 'CANCELLED' | 'NO_SHOW';

export const BookingSchema = defineEntity({
  name: 'Booking',
  tableName: 'booking',
  properties: {
    id: p.uuid().primary(),
    slotId: p.uuid(),
    doctorId: p.uuid(),
    patientId: p.uuid(),
    startAt: p.datetime(),
    endAt: p.datetime(),
    state: p.text().$type<BookingState>(),
    reasonForVisit: p.text(),
    cancelReason: p.text(),
    cancelledByRole: p.text().$type<RoleName>().nullable(),
    createdAt: p.datetime(),
    updatedAt: p.datetime(),
  },
});

/** The whole life of a booking: each state, and the states it may move to. Every state but CANCELLED holds the slot. */
export const NEXT: Readonly<Record<BookingState, readonly BookingState[]>> = {
  CONFIRMED: ['CHECKED_IN', 'IN_PROGRESS', 'CANCELLED', 'NO_SHOW'],
  CHECKED_IN: ['IN_PROGRESS', 'CANCELLED', 'NO_SHOW'],
  IN_PROGRESS: ['COMPLETED'],
  COMPLETED: [],
  CANCELLED: [],
  NO_SHOW: [],
};

/** How long before the start a patient may check in and a doctor begin. */
const EARLY_MS = 15 * 60_000;

/** A patient's claim on a slot. */
export class Booking extends BookingSchema.class {
  /** A confirmed booking of `slot`; the slot itself is booked apart. */
  static confirm(
    slot: Slot,
    { patientId, reasonForVisit, now }: { patientId: string; reasonForVisit: string; now: Date },
  ): Booking {
    return Object.assign(new Booking(), {
      ...timesOf(slot),
      id: uuid(),
      doctorId: slot.doctorId,
      patientId,
      state: 'CONFIRMED',
      reasonForVisit,
      cancelReason: '',
      cancelledByRole: null,
      createdAt: now,
      updatedAt: now,
    });
  }

  /** From 15 minutes before the start until the end. */
  checkIn(now: Date): void {
    this.mayBecome('CHECKED_IN');
    this.duringVisit(now);
    this.become('CHECKED_IN', now);
  }

  /** From 15 minutes before the start until the end. */
  start(now: Date): void {
    this.mayBecome('IN_PROGRESS');
    this.duringVisit(now);
    this.become('IN_PROGRESS', now);
  }

  complete(now: Date): void {
    this.become('COMPLETED', now);
  }

  /** From the start on. */
  markNoShow(now: Date): void {
    this.mayBecome('NO_SHOW');
    this.notBefore(this.startAt, now);
    this.become('NO_SHOW', now);
  }

  /** Patients before the start; doctors and administrators at any time. */
  cancel(by: RoleName, reason: string, now: Date): void {
    this.mayBecome('CANCELLED');
    if (by === 'PATIENT') this.beforeStart(now);
    this.become('CANCELLED', now);
    this.cancelReason = reason;
    this.cancelledByRole = by;
  }

  /** Whether the booking can go to another slot at all: CONFIRMED, and before its start. */
  mayMove(now: Date): void {
    if (this.state !== 'CONFIRMED') throw this.stateFault();
    this.beforeStart(now);
  }

  /** Takes another slot; the id stays. Both slots' own states are changed apart. */
  moveTo(slot: Slot, now: Date): void {
    this.mayMove(now);
    Object.assign(this, timesOf(slot), { updatedAt: now });
  }

  private become(state: BookingState, now: Date): void {
    this.mayBecome(state);
    this.state = state;
    this.updatedAt = now;
  }

  private mayBecome(state: BookingState): void {
    if (!NEXT[this.state].includes(state)) throw this.stateFault();
  }

  private stateFault(): Fault {
    return new Fault('BOOKING_STATE', `the booking is ${this.state}`, { metadata: { state: this.state } });
  }

  private duringVisit(now: Date): void {
    this.notBefore(new Date(this.startAt.getTime() - EARLY_MS), now);
    if (now >= this.endAt) throw tooLate(this.endAt);
  }

  private notBefore(from: Date, now: Date): void {
    if (now < from) {
      throw new Fault('TOO_EARLY', `not before ${from.toISOString()}`, { metadata: { from: from.toISOString() } });
    }
  }

  private beforeStart(now: Date): void {
    if (now >= this.startAt) throw tooLate(this.startAt);
  }
}
BookingSchema.setClass(Booking);

function timesOf({ id, startAt, endAt }: Slot) {
  return { slotId: id, startAt, endAt };
}

function tooLate(until: Date): Fault {
  return new Fault('TOO_LATE', `not after ${until.toISOString()}`, { metadata: { until: until.toISOString() } });
}
