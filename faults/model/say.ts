import type { BookingFacts, Operation, SlotFacts } from './world.ts';

/** A slot in one line. */
export function sayOfSlot(name: string, { doctor, from, until, state }: SlotFacts): string {
  return `slot ${name} (${doctor}, ${from} to ${until}) is ${state}`;
}

/** A booking in one line; `slot` is the one that it holds or held. */
export function sayOfBooking(name: string, booking: BookingFacts, slot: Omit<SlotFacts, 'state'>): string {
  const { patient, state, words, cancelledBy, cancelWords, madeAt, changedAt } = booking;
  const cancelled = cancelledBy || cancelWords ? ` by ${cancelledBy} "${cancelWords}"` : '';
  return (
    `booking ${name} of ${patient} with ${slot.doctor}, ${slot.from} to ${slot.until} (slot ${booking.slot}), "${words}", ` +
    `is ${state}${cancelled}; made at ${madeAt}, changed at ${changedAt}`
  );
}

/** A refusal in one line: its reason and the metadata that the contract gives it. */
export function sayOfRefusal(reason: string, tells: Readonly<Record<string, string | number>> = {}): string {
  return [reason, ...Object.entries(tells).map(([name, value]) => `${name}=${value}`)].join(' ');
}

/** A call in one line: `p1 BookSlot d1@20-40 "a cough" (r3)`. */
export function sayOfOperation({ caller, request, asks }: Operation): string {
  const { method, ...rest } = asks;
  const given = Object.entries(rest).map(([name, value]) => {
    if (name === 'words') return JSON.stringify(value);
    return typeof value === 'string' ? value : (value as readonly number[][]).map((time) => time.join('-')).join(', ');
  });
  return [caller, method, ...given, request && `(${request})`].filter(Boolean).join(' ');
}
