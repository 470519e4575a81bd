import type { Wish } from './steps.ts';
import { type Ask, type Minute, type Operation, type Role, roleOf } from './world.ts';

/** What there is to choose from. */
export interface Known {
  readonly now: Minute;
  readonly patients: readonly string[];
  readonly doctors: readonly string[];
  readonly slots: readonly string[];
  readonly bookings: readonly { readonly name: string; readonly patient: string; readonly doctor: string }[];
}

/** A booking that was never made. */
const NO_BOOKING = { name: 'no booking', patient: '', doctor: '' };

const TAKES_A_BOOKING = new Set<Ask['method']>([
  ...(['CancelBooking', 'RescheduleBooking', 'CheckIn', 'StartConsultation'] as const),
  ...(['CompleteConsultation', 'MarkNoShow', 'GetBooking'] as const),
]);

/**
 * The operation that a step stands for. A number chooses among what there is, so every step means something everywhere; where
 * nothing is booked yet, most of them book.
 */
export function operationOf(wish: Wish, known: Known, request: string): Operation {
  const { who, where } = wish;
  const inVain = !known.bookings.length && !wish.stranger && TAKES_A_BOOKING.has(wish.do);
  const method = inVain && known.patients.length ? 'BookSlot' : wish.do;
  const patient = pick(known.patients, who) ?? '';
  const doctor = pick(known.doctors, where) ?? '';
  const slot = pick(known.slots, where) ?? 'no slot';
  const booking = pick(known.bookings, who) ?? NO_BOOKING;
  const words = `words of ${request}`;
  const owner = (role: Role) => ownerOf(wish, known, { role, booking });
  switch (method) {
    case 'BookSlot':
      return { caller: patient, request, asks: { method, slot, words } };
    case 'CancelBooking':
      return { caller: owner(wish.by), request, asks: { method, booking: booking.name, words } };
    case 'RescheduleBooking':
      return { caller: owner('PATIENT'), request, asks: { method, booking: booking.name, slot } };
    case 'CheckIn':
      return { caller: owner('PATIENT'), request, asks: { method, booking: booking.name } };
    case 'StartConsultation':
    case 'CompleteConsultation':
    case 'MarkNoShow':
      return { caller: owner('DOCTOR'), request, asks: { method, booking: booking.name } };
    case 'GetBooking':
      return {
        caller: owner(wish.by === 'DOCTOR' ? 'DOCTOR' : 'PATIENT'),
        request: '',
        asks: { method, booking: booking.name },
      };
    case 'WithdrawSlot':
      return { caller: wish.stranger ? doctor : doctorOf(slot, doctor), request, asks: { method, slot } };
    case 'GetSlot':
      return { caller: doctorOf(slot, doctor), request: '', asks: { method, slot } };
    case 'PublishSlots':
      return { caller: doctor, request, asks: { method, times: timesNear(known.now, who) } };
  }
}

/** The same request with another content: another slot or booking, or other words. */
export function otherwise(operation: Operation): Operation {
  const { asks } = operation;
  const other: Ask =
    'words' in asks
      ? { ...asks, words: `${asks.words}, but others` }
      : asks.method === 'PublishSlots'
        ? { ...asks, times: [...asks.times, [1000, 1010]] }
        : 'slot' in asks
          ? { ...asks, slot: 'no slot' }
          : { ...asks, booking: 'no booking' };
  return { ...operation, asks: other };
}

/** The same request by somebody else of the same role; by the same caller where there is nobody else. */
export function bySomebodyElse({ patients, doctors }: Known, operation: Operation): Operation {
  const role = roleOf(operation.caller);
  const others = { PATIENT: patients, DOCTOR: doctors, ADMINISTRATOR: [] }[role].filter(
    (name) => name !== operation.caller,
  );
  return { ...operation, caller: others[0] ?? operation.caller };
}

function ownerOf(
  { stranger, where }: Wish,
  { patients, doctors }: Known,
  { role, booking }: { role: Role; booking: Known['bookings'][number] },
): string {
  if (role === 'ADMINISTRATOR') return 'admin';
  const [owner, others] = role === 'PATIENT' ? [booking.patient, patients] : [booking.doctor, doctors];
  return (!stranger && owner) || (pick(others, where) ?? '');
}

const doctorOf = (slot: string, otherwise: string) =>
  slot.includes('@') ? (slot.split('@', 1)[0] as string) : otherwise;

/** One or two slots of 20 minutes, most of them ahead, some on top of others. */
function timesNear(now: Minute, choice: number): (readonly [Minute, Minute])[] {
  const from = Math.ceil(now / 10) * 10 + ((choice % 6) - 1) * 10;
  const second = choice > 8 ? [[from + 10, from + 30] as const] : choice > 5 ? [[from + 20, from + 40] as const] : [];
  return [[from, from + 20], ...second];
}

function pick<T>(from: readonly T[], choice: number): T | undefined {
  return from.length ? from[choice % from.length] : undefined;
}
