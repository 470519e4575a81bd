import { type Decided, Refused } from './decided.ts';
import { sayOfBooking } from './say.ts';
import { freeSlot, overlap, withSlot } from './slot-rules.ts';
import { type BookingFacts, freeName, type Minute, roleOf, type SlotFacts, type Step, type World } from './world.ts';

const BECOMES = {
  CheckIn: 'CHECKED_IN',
  StartConsultation: 'IN_PROGRESS',
  CompleteConsultation: 'COMPLETED',
  MarkNoShow: 'NO_SHOW',
} as const satisfies Record<Step, BookingFacts['state']>;

/** Of bookings in which states something is possible, and when: not before `notBefore`, and before `before`. */
interface Possible {
  readonly of: readonly BookingFacts['state'][];
  readonly notBefore?: Minute;
  readonly before?: Minute;
}

const POSSIBLE = {
  CheckIn: ({ from, until }) => ({ of: ['CONFIRMED'], notBefore: from - 15, before: until }),
  StartConsultation: ({ from, until }) => ({ of: ['CONFIRMED', 'CHECKED_IN'], notBefore: from - 15, before: until }),
  CompleteConsultation: () => ({ of: ['IN_PROGRESS'] }),
  MarkNoShow: ({ from }) => ({ of: ['CONFIRMED', 'CHECKED_IN'], notBefore: from }),
  Reschedule: ({ from }) => ({ of: ['CONFIRMED'], before: from }),
  CancelByPatient: ({ from }) => ({ of: ['CONFIRMED', 'CHECKED_IN'], before: from }),
  CancelByOthers: () => ({ of: ['CONFIRMED', 'CHECKED_IN'] }),
} as const satisfies Record<string, (slot: SlotFacts) => Possible>;

/** What changes a booking, and by whom. */
interface Change {
  readonly caller: string;
  readonly booking: string;
}

export function step(world: World, { caller, method, booking: name }: Change & { readonly method: Step }): Decided {
  const { booking, slot } = ownBooking(world, caller, name);
  mustBePossible(world, booking, POSSIBLE[method](slot));
  return { world: withBooking(world, name, { ...booking, state: BECOMES[method] }), shows: showBooking(name) };
}

/** The slot of a patient's cancel opens again - it lies ahead -, that of a doctor's or an administrator's is withdrawn. */
export function cancel(world: World, { caller, booking: name, words }: Change & { readonly words: string }): Decided {
  const { booking, slot } = ownBooking(world, caller, name);
  const role = roleOf(caller);
  mustBePossible(world, booking, POSSIBLE[role === 'PATIENT' ? 'CancelByPatient' : 'CancelByOthers'](slot));
  const cancelled: BookingFacts = { ...booking, state: 'CANCELLED', cancelledBy: role, cancelWords: words };
  const freed = withSlot(world, booking.slot, { ...slot, state: role === 'PATIENT' ? 'OPEN' : 'WITHDRAWN' });
  return { world: withBooking(freed, name, cancelled), shows: showBooking(name) };
}

interface Wish {
  readonly patient: string;
  readonly request: string;
  readonly slot: string;
  readonly words: string;
}

export function book(world: World, { patient, request, slot: wanted, words }: Wish): Decided {
  const slot = freeSlot(world, wanted);
  mustBeFree(world, { patient, slot });
  const name = freeName(`${patient}:${request}`, (taken) => taken in world.bookings);
  const times = { madeAt: world.now, changedAt: world.now };
  const booking = {
    patient,
    slot: wanted,
    state: 'CONFIRMED',
    words,
    cancelWords: '',
    cancelledBy: '',
    ...times,
  } as const;
  const booked = withSlot(world, wanted, { ...slot, state: 'BOOKED' });
  return { world: withBooking(booked, name, booking), shows: showBooking(name) };
}

/** To another slot of the same doctor; the old one opens again. */
export function reschedule(
  world: World,
  { caller, booking: name, slot: wanted }: Change & { readonly slot: string },
): Decided {
  const { booking, slot: old } = ownBooking(world, caller, name);
  mustBePossible(world, booking, POSSIBLE.Reschedule(old));
  const slot = freeSlot(world, wanted, old.doctor);
  mustBeFree(world, { patient: booking.patient, slot, but: name });
  const left = withSlot(world, booking.slot, { ...old, state: 'OPEN' });
  const taken = withSlot(left, wanted, { ...slot, state: 'BOOKED' });
  return { world: withBooking(taken, name, { ...booking, slot: wanted }), shows: showBooking(name) };
}

/** A patient's own, one of the doctor's, any for an administrator; what isn't the caller's is not found. */
export function ownBooking({ bookings, slots }: World, caller: string, name: string) {
  const booking = bookings[name];
  const slot = booking && slots[booking.slot];
  if (!booking || !slot) throw new Refused('BOOKING_NOT_FOUND');
  const owner = { PATIENT: booking.patient, DOCTOR: slot.doctor, ADMINISTRATOR: caller }[roleOf(caller)];
  if (owner !== caller) throw new Refused('BOOKING_NOT_FOUND');
  return { booking, slot };
}

export function showBooking(name: string): Decided['shows'] {
  return ({ bookings, slots }) => {
    const booking = bookings[name] as BookingFacts;
    return sayOfBooking(name, booking, slots[booking.slot] as SlotFacts);
  };
}

function mustBePossible({ now }: World, { state }: BookingFacts, { of, notBefore, before }: Possible): void {
  if (!of.includes(state)) throw new Refused('BOOKING_STATE', { state });
  if (notBefore !== undefined && now < notBefore) throw new Refused('TOO_EARLY', { from: notBefore });
  if (before !== undefined && now >= before) throw new Refused('TOO_LATE', { until: before });
}

/** No patient is in two places: what is over, cancelled or missed doesn't count, nor does the booking `but`. */
function mustBeFree(world: World, { patient, slot, but }: { patient: string; slot: SlotFacts; but?: string }): void {
  const busy = Object.entries(world.bookings).some(([name, booking]) => {
    const { from, until } = world.slots[booking.slot] as SlotFacts;
    const active = ['CONFIRMED', 'CHECKED_IN', 'IN_PROGRESS'].includes(booking.state);
    return name !== but && booking.patient === patient && active && overlap([from, until], [slot.from, slot.until]);
  });
  if (busy) throw new Refused('PATIENT_BUSY');
}

function withBooking(world: World, name: string, booking: BookingFacts): World {
  return { ...world, bookings: { ...world.bookings, [name]: { ...booking, changedAt: world.now } } };
}
