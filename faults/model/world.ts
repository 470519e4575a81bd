/** Minutes since the beginning of a sequence. */
export type Minute = number;

export type Role = 'PATIENT' | 'DOCTOR' | 'ADMINISTRATOR';

/** A slot as the specification has it. */
export interface SlotFacts {
  readonly doctor: string;
  readonly from: Minute;
  readonly until: Minute;
  readonly state: 'OPEN' | 'BOOKED' | 'WITHDRAWN';
}

/** A booking as the specification has it. */
export interface BookingFacts {
  readonly patient: string;
  readonly slot: string;
  readonly state: 'CONFIRMED' | 'CHECKED_IN' | 'IN_PROGRESS' | 'COMPLETED' | 'CANCELLED' | 'NO_SHOW';
  readonly words: string;
  readonly cancelWords: string;
  readonly cancelledBy: Role | '';
  readonly madeAt: Minute;
  readonly changedAt: Minute;
}

/** What a caller is told. Two answers are the same when they say the same and are both, or neither, replayed. */
export interface Answer {
  /** `OK` and what is shown, or the reason of a refusal and what it tells; see say.ts. */
  readonly says: string;
  /** Whether it was given before. */
  readonly replayed: boolean;
  /** The slots that SLOT_TAKEN offers, nearest first. Read without a lock, so true only while nobody else acts. */
  readonly offers?: readonly string[];
}

/** An answer that a repetition of the request gets again. */
export interface KeptAnswer extends Answer {
  readonly asks: string;
  readonly at: Minute;
}

/**
 * Everything the specification remembers. Nothing in it is ever changed: a change makes another world. People are p1, p2,
 * d1, admin; a slot is named by its doctor and time, d1@20-40; a booking by the request that made it, p1:r3.
 */
export interface World {
  readonly now: Minute;
  readonly slots: Readonly<Record<string, SlotFacts>>;
  readonly bookings: Readonly<Record<string, BookingFacts>>;
  readonly answers: Readonly<Record<string, KeptAnswer>>;
}

/** What can be asked for. */
export type Ask =
  | { readonly method: 'BookSlot'; readonly slot: string; readonly words: string }
  | { readonly method: 'CancelBooking'; readonly booking: string; readonly words: string }
  | { readonly method: 'RescheduleBooking'; readonly booking: string; readonly slot: string }
  | { readonly method: Step; readonly booking: string }
  | { readonly method: 'WithdrawSlot'; readonly slot: string }
  | { readonly method: 'PublishSlots'; readonly times: readonly (readonly [Minute, Minute])[] }
  | { readonly method: 'GetBooking'; readonly booking: string }
  | { readonly method: 'GetSlot'; readonly slot: string };

/** The methods that take a booking one step further. */
export type Step = 'CheckIn' | 'StartConsultation' | 'CompleteConsultation' | 'MarkNoShow';

/** One call. `request` names its request_id; it is empty when the call only reads. */
export interface Operation {
  readonly caller: string;
  readonly request: string;
  readonly asks: Ask;
}

/** What a person's name says of the role. */
export function roleOf(name: string): Role {
  return name.startsWith('p') ? 'PATIENT' : name.startsWith('d') ? 'DOCTOR' : 'ADMINISTRATOR';
}

/** A name that `taken` doesn't have: `wanted`, or `wanted` with as many strokes as it needs. */
export function freeName(wanted: string, taken: (name: string) => boolean): string {
  return taken(wanted) ? freeName(`${wanted}'`, taken) : wanted;
}
