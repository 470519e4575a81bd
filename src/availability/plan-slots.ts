import type { OfferedSlot } from './offered-slots.ts';
import type { SlotState } from './slot.entity.ts';

/** A slot that is there. */
export interface KnownSlot {
  readonly id: string;
  /** Milliseconds since 1970, `[start, end)`. */
  readonly start: number;
  readonly end: number;
  readonly state: SlotState;
  /** Whether a schedule has made it. */
  readonly scheduled: boolean;
  /** Of a booked one: whether it is to be withdrawn, not opened, when its patient gives it back. */
  readonly retracted: boolean;
  /** Of one that was withdrawn: when. */
  readonly changedAt: Date;
}

/** What is to become of a doctor's slots. */
export interface SlotPlan {
  readonly make: readonly OfferedSlot[];
  readonly withdraw: readonly KnownSlot[];
  /** Booked ones that schedules have made and would make no more. */
  readonly outside: readonly KnownSlot[];
  /** Those that were, and that are asked for again. */
  readonly back: readonly KnownSlot[];
}

/**
 * Compares what schedules ask for with what is there; both are in the order of time. `known` are the doctor's slots that are open,
 * booked, or withdrawn otherwise than by a schedule. What people have published, booked or withdrawn stays: a slot is made only
 * where none of these is in the way. One that was withdrawn before the schedule was created isn't.
 */
export function planSlots(offered: readonly OfferedSlot[], known: readonly KnownSlot[], now: Date): SlotPlan {
  const asked = new Set(offered.map(timeOf));
  const ahead = known.filter(({ scheduled, start }) => scheduled && start > now.getTime());
  const unasked = ahead.filter((slot) => !asked.has(timeOf(slot)));
  const withdraw = unasked.filter(({ state }) => state === 'OPEN');
  const gone = new Set(withdraw);
  const inTheWay = blocking(known.filter((slot) => !gone.has(slot)));
  return {
    make: offered.filter((slot) => !inTheWay(slot)),
    withdraw,
    outside: unasked.filter(({ state }) => state === 'BOOKED'),
    back: ahead.filter((slot) => slot.retracted && slot.state !== 'WITHDRAWN' && asked.has(timeOf(slot))),
  };
}

/** Finds what is in the way of a slot, asked for in the order of time; live ones first. Slots that are withdrawn may lie over others. */
export function blocking(known: readonly KnownSlot[]): (slot: OfferedSlot) => KnownSlot | undefined {
  const order = known.toSorted((a, b) => a.start - b.start);
  let near: KnownSlot[] = [];
  let i = 0;
  return ({ start, end, offer }) => {
    for (; i < order.length && (order[i] as KnownSlot).start < end; i++) near.push(order[i] as KnownSlot);
    near = near.filter((slot) => slot.end > start);
    return (
      near.find(({ state }) => state !== 'WITHDRAWN') ??
      near.find(({ changedAt }) => changedAt.getTime() >= offer.createdAt.getTime())
    );
  };
}

function timeOf({ start, end }: { readonly start: number; readonly end: number }): string {
  return `${start} ${end}`;
}
