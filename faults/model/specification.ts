import { book, cancel, ownBooking, reschedule, showBooking, step } from './booking-rules.ts';
import { type Decided, Refused } from './decided.ts';
import { publish, showSlots, withdraw } from './slot-rules.ts';
import type { Answer, KeptAnswer, Minute, Operation, World } from './world.ts';

// What the contract says a clinic does, once more and in another way than the product: one call after the other, in plain
// values, without a database. It imports nothing of the product.

const WEEK: Minute = 7 * 24 * 60;

/** What a call comes to. */
export interface Performed {
  readonly world: World;
  readonly answer: Answer;
}

/** What one call does and is told, when nobody else acts. Every refusal is kept, for they all say how things stand. */
export function perform(world: World, operation: Operation): Performed {
  const { caller, request, asks } = operation;
  if (!request) return unlessRefused(world, operation);
  const asked = JSON.stringify(asks);
  const kept = keptAnswer(world, operation);
  if (kept && !isOutdated(world, kept)) {
    if (kept.asks !== asked) return { world, answer: { says: 'REQUEST_ID_REUSED', replayed: false } };
    return { world, answer: { says: kept.says, offers: kept.offers, replayed: true } };
  }
  const { world: changed, answer } = unlessRefused(world, operation);
  const keeps = { ...answer, asks: asked, at: world.now };
  return { world: { ...changed, answers: { ...world.answers, [keyOf({ caller, request, asks })]: keeps } }, answer };
}

/** Whether the request was answered so long ago that it is a new one. */
export function isNewAgain(world: World, operation: Operation): boolean {
  const kept = keptAnswer(world, operation);
  return kept !== undefined && isOutdated(world, kept);
}

/** What a request_id counts for: its caller and method. */
export function keyOf({ caller, request, asks }: Operation): string {
  return `${caller} ${asks.method} ${request}`;
}

function keptAnswer({ answers }: World, operation: Operation): KeptAnswer | undefined {
  return operation.request ? answers[keyOf(operation)] : undefined;
}

function isOutdated({ now }: World, { at }: KeptAnswer): boolean {
  return now - at > WEEK;
}

/** A refused call changes nothing. */
function unlessRefused(world: World, operation: Operation): Performed {
  try {
    const { world: changed, shows } = decide(world, operation);
    return { world: changed, answer: { says: `OK ${shows(changed)}`, replayed: false } };
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    return { world, answer: { says: refused.says, offers: refused.offers, replayed: false } };
  }
}

function decide(world: World, { caller, request, asks }: Operation): Decided {
  switch (asks.method) {
    case 'BookSlot':
      return book(world, { patient: caller, request, ...asks });
    case 'CancelBooking':
      return cancel(world, { caller, ...asks });
    case 'RescheduleBooking':
      return reschedule(world, { caller, ...asks });
    case 'WithdrawSlot':
      return withdraw(world, caller, asks.slot);
    case 'PublishSlots':
      return publish(world, caller, asks.times);
    case 'GetBooking':
      ownBooking(world, caller, asks.booking);
      return { world, shows: showBooking(asks.booking) };
    case 'GetSlot':
      if (!world.slots[asks.slot]) throw new Refused('SLOT_NOT_FOUND');
      return { world, shows: showSlots([asks.slot]) };
    default:
      return step(world, { caller, ...asks });
  }
}
