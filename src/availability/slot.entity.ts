import { randomUUIDv7 as uuid } from 'node:crypto';
import { defineEntity, p } from '@mikro-orm/postgresql';
import { Fault, fieldInvalid } from '../fault.ts';

/** Where a slot stands. */
export type SlotState = 'OPEN' | 'BOOKED' | 'WITHDRAWN';

export const SlotSchema = defineEntity({
  name: 'Slot',
  tableName: 'slot',
  properties: {
    id: p.uuid().primary(),
    doctorId: p.uuid(),
    startAt: p.datetime(),
    endAt: p.datetime(),
    state: p.text().$type<SlotState>(),
    /** Since when no schedule offers it any more; null: one does, or none has made it. A sold one is withdrawn when it is given back. */
    retractedAt: p.datetime().nullable(),
    createdAt: p.datetime(),
    updatedAt: p.datetime(),
  },
});

const MINUTE_MS = 60_000;
const SHORTEST_MS = 5 * MINUTE_MS;
const LONGEST_MS = 8 * 60 * MINUTE_MS;
const FURTHEST_MS = 400 * 24 * 60 * MINUTE_MS;

/** The life of a slot: each state, and the states it may move to. */
const NEXT: Record<SlotState, readonly SlotState[]> = {
  OPEN: ['BOOKED', 'WITHDRAWN'],
  BOOKED: ['OPEN', 'WITHDRAWN'],
  WITHDRAWN: [],
};

/** The time of a slot, `[startAt, endAt)`. */
export interface SlotTimes {
  readonly startAt: Date;
  readonly endAt: Date;
}

/** One bookable stretch of a doctor's time. */
export class Slot extends SlotSchema.class {
  /** A new open slot. `field` is its place in the request, such as `slots[2]`. Refuses impossible times and SLOT_IN_PAST. */
  static open(doctorId: string, times: SlotTimes, { field, now }: { field: string; now: Date }): Slot {
    checkTimes(times, field, now);
    const open = { id: uuid(), doctorId, ...times, state: 'OPEN', retractedAt: null, createdAt: now, updatedAt: now };
    return Object.assign(new Slot(), open);
  }

  /** Whether the slot's time has come. */
  hasBegun(now: Date): boolean {
    return this.startAt <= now;
  }

  book(now: Date): void {
    this.become('BOOKED', now);
  }

  /** Gives the slot's time back: open again while it lies ahead and is offered, withdrawn when it has begun or its schedule offers it no more. */
  release(now: Date): void {
    this.become(this.hasBegun(now) || this.retractedAt ? 'WITHDRAWN' : 'OPEN', now);
  }

  /** Takes it back by hand: no schedule that is there makes it again. */
  withdraw(now: Date): void {
    this.become('WITHDRAWN', now);
    this.retractedAt = null;
  }

  /** The refusal of what only an open slot allows. */
  notOpen(): Fault {
    return new Fault('SLOT_NOT_OPEN', `the slot is ${this.state}`, { metadata: { state: this.state } });
  }

  private become(state: SlotState, now: Date): void {
    if (!NEXT[this.state].includes(state)) throw this.notOpen();
    this.state = state;
    this.updatedAt = now;
  }
}
SlotSchema.setClass(Slot);

function checkTimes({ startAt, endAt }: SlotTimes, field: string, now: Date): void {
  const [start, end] = [startAt.getTime(), endAt.getTime()];
  if (start % MINUTE_MS) throw fieldInvalid(`${field}.start_time`, 'must be a whole minute', 'slot.whole_minute');
  if (end % MINUTE_MS) throw fieldInvalid(`${field}.end_time`, 'must be a whole minute', 'slot.whole_minute');
  if (end - start < SHORTEST_MS || end - start > LONGEST_MS) {
    throw fieldInvalid(`${field}.end_time`, 'must be 5 minutes to 8 hours after start_time', 'slot.length');
  }
  if (start - now.getTime() > FURTHEST_MS) {
    throw fieldInvalid(`${field}.start_time`, 'must be at most 400 days ahead', 'slot.horizon');
  }
  if (startAt <= now) throw new Fault('SLOT_IN_PAST', 'the slot has begun', { metadata: { field } });
}
