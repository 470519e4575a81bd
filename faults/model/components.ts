import type { Call } from './history.ts';
import { type Operation, roleOf, type World } from './world.ts';

/**
 * Splits a history into parts that have nothing to do with each other, so that each can be explained by itself: a history
 * is linearizable when the histories of its objects are (Herlihy and Wing), as long as no call touches two objects.
 *
 * A slot alone is not such an object, nor is a booking: a reschedule touches two slots, PATIENT_BUSY looks at everything a
 * patient has, a repetition looks at what its request_id did before. So the object is all that is joined by such calls -
 * patients, with their bookings and requests, and the slots that they wanted, or had in the world before.
 */
export function components(history: readonly Call[], { bookings }: World): Call[][] {
  const leader = new Map<string, string>();
  const find = (thing: string): string => {
    const above = leader.get(thing) ?? thing;
    return above === thing ? thing : find(above);
  };
  const before = Object.values(bookings).map(({ patient, slot }) => [patient, slot]);
  for (const [first = '', ...others] of [...before, ...history.map(({ operation }) => touched(operation))]) {
    for (const other of others) leader.set(find(other), find(first));
  }
  return [...Map.groupBy(history, ({ operation }) => find(touched(operation)[0] as string)).values()];
}

/** A booking is its patient's: the name says whose. A published slot may overlap any other of the doctor, so it touches them all. */
function touched({ caller, request, asks }: Operation): string[] {
  const things = request ? [`request ${caller} ${asks.method} ${request}`] : [];
  if (roleOf(caller) === 'PATIENT') things.push(caller);
  if ('booking' in asks) things.push(asks.booking.split(':', 1)[0] as string);
  if ('slot' in asks) things.push(asks.slot);
  if (asks.method === 'PublishSlots') throw new Error('histories with PublishSlots are not split');
  return things;
}
