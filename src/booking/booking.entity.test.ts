import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Slot } from '../availability/slot.entity.ts';
import type { RoleName } from '../caller.ts';
import { Fault } from '../fault.ts';
import { Booking, type BookingState } from './booking.entity.ts';

const START = Date.parse('2030-03-10T09:00:00Z');
const END = START + 30 * 60_000;
const EARLY = START - 15 * 60_000;
const MADE = new Date(START - 7 * 86_400_000);

/** Every moment at which an answer may change, and the moment before. */
const MOMENTS = [EARLY - 1, EARLY, START - 1, START, END - 1, END, END + 86_400_000];
type Moment = (typeof MOMENTS)[number];

const STATES: readonly BookingState[] = ['CONFIRMED', 'CHECKED_IN', 'IN_PROGRESS', 'COMPLETED', 'CANCELLED', 'NO_SHOW'];

const slotAt = (startAt: number) =>
  Slot.open('doctor', { startAt: new Date(startAt), endAt: new Date(startAt + END - START) }, { field: '', now: MADE });

const bookingIn = (state: BookingState) =>
  Object.assign(Booking.confirm(slotAt(START), { patientId: 'patient', reasonForVisit: 'cough', now: MADE }), {
    state,
    cancelledByRole: state === 'CANCELLED' ? 'DOCTOR' : null,
  });

const TRANSITIONS: Record<string, (booking: Booking, now: Date) => void> = {
  checkIn: (booking, now) => booking.checkIn(now),
  start: (booking, now) => booking.start(now),
  complete: (booking, now) => booking.complete(now),
  markNoShow: (booking, now) => booking.markNoShow(now),
  'cancel by PATIENT': (booking, now) => booking.cancel('PATIENT', 'why', now),
  'cancel by DOCTOR': (booking, now) => booking.cancel('DOCTOR', 'why', now),
  'cancel by ADMINISTRATOR': (booking, now) => booking.cancel('ADMINISTRATOR', 'why', now),
  moveTo: (booking, now) => booking.moveTo(slotAt(START + 86_400_000), now),
};

/** The contract, written down once more: from which states, to which state, and in which stretch of time. */
const CONTRACT: Record<
  keyof typeof TRANSITIONS,
  { from: readonly BookingState[]; to: BookingState; since?: Moment; until?: Moment }
> = {
  checkIn: { from: ['CONFIRMED'], to: 'CHECKED_IN', since: EARLY, until: END },
  start: { from: ['CONFIRMED', 'CHECKED_IN'], to: 'IN_PROGRESS', since: EARLY, until: END },
  complete: { from: ['IN_PROGRESS'], to: 'COMPLETED' },
  markNoShow: { from: ['CONFIRMED', 'CHECKED_IN'], to: 'NO_SHOW', since: START },
  'cancel by PATIENT': { from: ['CONFIRMED', 'CHECKED_IN'], to: 'CANCELLED', until: START },
  'cancel by DOCTOR': { from: ['CONFIRMED', 'CHECKED_IN'], to: 'CANCELLED' },
  'cancel by ADMINISTRATOR': { from: ['CONFIRMED', 'CHECKED_IN'], to: 'CANCELLED' },
  moveTo: { from: ['CONFIRMED'], to: 'CONFIRMED', until: START },
};

function promised(transition: string, state: BookingState, now: Moment): string {
  const { from, to, since, until } = CONTRACT[transition] as (typeof CONTRACT)[string];
  if (!from.includes(state)) return `BOOKING_STATE state=${state}`;
  if (since !== undefined && now < since) return `TOO_EARLY from=${new Date(since).toISOString()}`;
  if (until !== undefined && now >= until) return `TOO_LATE until=${new Date(until).toISOString()}`;
  return to;
}

function outcome(transition: string, booking: Booking, now: Moment): string {
  try {
    TRANSITIONS[transition]?.(booking, new Date(now));
    return booking.state;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const [[name, value] = []] = Object.entries(error.options.metadata ?? {});
    return `${error.reason} ${name}=${value}`;
  }
}

const CELLS = Object.keys(TRANSITIONS).flatMap((transition) => STATES.map((state) => [transition, state] as const));

describe('the life of a booking', () => {
  test.each(CELLS)('%s of a booking that is %s, at every moment', (transition, state) => {
    const seen = MOMENTS.map((now) => outcome(transition, bookingIn(state), now));
    expect(seen).toEqual(MOMENTS.map((now) => promised(transition, state, now)));
  });

  test.each(CELLS)('a refused %s leaves a booking that is %s as it was', (transition, state) => {
    for (const now of MOMENTS.filter((moment) => promised(transition, state, moment).includes('='))) {
      const booking = bookingIn(state);
      const before = JSON.stringify(booking);
      outcome(transition, booking, now);
      expect(JSON.stringify(booking)).toBe(before);
    }
  });

  test('whatever is tried, in whatever order: no way leads off the table, and final states stay', () => {
    const step = fc.tuple(fc.constantFrom(...Object.keys(TRANSITIONS)), fc.integer({ min: -60, max: 120 }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const booking = bookingIn('CONFIRMED');
        let now = EARLY;
        for (const [transition, minutes] of steps) {
          now += minutes * 60_000;
          const before = booking.state;
          const { startAt } = booking;
          outcome(transition, booking, now);
          const contract = CONTRACT[transition];
          if (booking.state !== before) {
            expect(contract?.from).toContain(before);
            expect(booking.state).toBe(contract?.to);
          }
          if (transition !== 'moveTo') expect(booking.startAt).toBe(startAt);
          expect(booking.cancelledByRole !== null).toBe(booking.state === 'CANCELLED');
        }
      }),
    );
  });
});

describe('what a transition writes', () => {
  test('a new booking is the slot’s, confirmed, and made now', () => {
    const slot = slotAt(START);
    const booking = Booking.confirm(slot, { patientId: 'p', reasonForVisit: 'cough', now: MADE });
    expect(booking).toMatchObject({
      slotId: slot.id,
      doctorId: 'doctor',
      patientId: 'p',
      startAt: slot.startAt,
      endAt: slot.endAt,
      state: 'CONFIRMED',
      reasonForVisit: 'cough',
      cancelReason: '',
      cancelledByRole: null,
      createdAt: MADE,
      updatedAt: MADE,
    });
  });

  test.each<RoleName>(['PATIENT', 'DOCTOR', 'ADMINISTRATOR'])('a cancel by %s says who and why', (role) => {
    const booking = bookingIn('CONFIRMED');
    booking.cancel(role, 'no time', new Date(EARLY));
    expect(booking).toMatchObject({ cancelledByRole: role, cancelReason: 'no time', updatedAt: new Date(EARLY) });
  });

  test('a move takes the other slot’s times and keeps the id', () => {
    const booking = bookingIn('CONFIRMED');
    const { id } = booking;
    const slot = slotAt(START + 86_400_000);
    booking.moveTo(slot, new Date(EARLY));
    expect(booking).toMatchObject({ id, slotId: slot.id, startAt: slot.startAt, endAt: slot.endAt, createdAt: MADE });
    expect(booking.updatedAt).toEqual(new Date(EARLY));
  });
});
