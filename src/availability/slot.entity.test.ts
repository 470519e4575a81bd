import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Fault } from '../fault.ts';
import { Slot, type SlotState } from './slot.entity.ts';

const MINUTE = 60_000;
const NOW = Date.parse('2030-03-10T08:00:30Z');
const START = Date.parse('2030-03-10T09:00:00Z');

const open = (start: number, end: number, now = NOW) =>
  Slot.open('d', { startAt: new Date(start), endAt: new Date(end) }, { field: 'slots[2]', now: new Date(now) });

/** `undefined` when the slot is taken; otherwise the reason, and the field or rule that is broken. */
function refusalOf(make: () => unknown): string | undefined {
  try {
    make();
    return undefined;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const [violation] = error.options.violations ?? [];
    return violation ? `${violation.field} ${violation.rule}` : error.reason;
  }
}

describe('the times of a slot', () => {
  test.each([
    [4, 'slots[2].end_time slot.length'],
    [5, undefined],
    [30, undefined],
    [8 * 60, undefined],
    [8 * 60 + 1, 'slots[2].end_time slot.length'],
    [0, 'slots[2].end_time slot.length'],
    [-30, 'slots[2].end_time slot.length'],
  ])('%d minutes long', (minutes, refused) => {
    expect(refusalOf(() => open(START, START + minutes * MINUTE))).toBe(refused);
  });

  test.each([
    ['a second', 1000],
    ['a millisecond', 1],
    ['59.999 seconds', 59_999],
  ])('%s beside the minute is refused, at either end', (_, ms) => {
    expect(refusalOf(() => open(START + ms, START + 30 * MINUTE + ms))).toBe('slots[2].start_time slot.whole_minute');
    expect(refusalOf(() => open(START, START + 30 * MINUTE + ms))).toBe('slots[2].end_time slot.whole_minute');
  });

  test('the start must lie ahead', () => {
    const end = START + 30 * MINUTE;
    expect(refusalOf(() => open(START, end, START - 1))).toBeUndefined();
    expect(refusalOf(() => open(START, end, START))).toBe('SLOT_IN_PAST');
    expect(refusalOf(() => open(START, end, START + 1))).toBe('SLOT_IN_PAST');
  });

  test('at most 400 days ahead', () => {
    const end = START + 30 * MINUTE;
    expect(refusalOf(() => open(START, end, START - 400 * 24 * 60 * MINUTE))).toBeUndefined();
    expect(refusalOf(() => open(START, end, START - 400 * 24 * 60 * MINUTE - 1))).toBe(
      'slots[2].start_time slot.horizon',
    );
  });

  test('it has begun at its start, not before', () => {
    const slot = open(START, START + 30 * MINUTE);
    expect([START - 1, START, START + 1].map((now) => slot.hasBegun(new Date(now)))).toEqual([false, true, true]);
  });
});

const TRANSITIONS: Record<string, (slot: Slot, now: Date) => void> = {
  book: (slot, now) => slot.book(now),
  release: (slot, now) => slot.release(now),
  withdraw: (slot, now) => slot.withdraw(now),
};

/** What becomes of a slot in each state, before its start and from its start on; absent: refused. */
const CONTRACT: Record<string, Partial<Record<SlotState, readonly [before: SlotState, after: SlotState]>>> = {
  book: { OPEN: ['BOOKED', 'BOOKED'] },
  release: { BOOKED: ['OPEN', 'WITHDRAWN'] },
  withdraw: { OPEN: ['WITHDRAWN', 'WITHDRAWN'], BOOKED: ['WITHDRAWN', 'WITHDRAWN'] },
};

const slotIn = (state: SlotState) => Object.assign(open(START, START + 30 * MINUTE), { state });

const CELLS = ['book', 'withdraw'].flatMap((transition) =>
  (['OPEN', 'BOOKED', 'WITHDRAWN'] as const).flatMap((state) =>
    [START - 1, START].map((now) => [transition, state, now] as const),
  ),
);

describe('the life of a slot', () => {
  test.each([
    ...CELLS,
    ['release', 'BOOKED', START - 1] as const,
    ['release', 'BOOKED', START] as const,
    ['release', 'WITHDRAWN', START - 1] as const,
    ['release', 'WITHDRAWN', START] as const,
    ['release', 'OPEN', START - 1] as const,
  ])('%s of a slot that is %s, at %d', (transition, state, now) => {
    const slot = slotIn(state);
    const expected = CONTRACT[transition]?.[state]?.[now < START ? 0 : 1];
    if (!expected) {
      expect(() => TRANSITIONS[transition]?.(slot, new Date(now))).toThrow(Fault);
      expect(slot.state).toBe(state);
      return;
    }
    TRANSITIONS[transition]?.(slot, new Date(now));
    expect(slot.state).toBe(expected);
    expect(slot.updatedAt).toEqual(new Date(now));
  });

  test('whatever is tried, a withdrawn slot stays withdrawn and none is booked but an open one', () => {
    const step = fc.tuple(fc.constantFrom(...Object.keys(TRANSITIONS)), fc.integer({ min: -5, max: 5 }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const slot = slotIn('OPEN');
        for (const [transition, minutes] of steps) {
          const before = slot.state;
          refusalOf(() => TRANSITIONS[transition]?.(slot, new Date(START + minutes * MINUTE)));
          if (before === 'WITHDRAWN') expect(slot.state).toBe('WITHDRAWN');
          if (slot.state === 'BOOKED' && before !== 'BOOKED') expect(before).toBe('OPEN');
          if (slot.state === 'OPEN' && before !== 'OPEN') expect(minutes).toBeLessThan(0);
        }
      }),
    );
  });

  test('one that is offered no more is withdrawn when it is given back, and by hand when it is taken back', () => {
    const [given, taken] = [slotIn('BOOKED'), slotIn('BOOKED')].map((slot) =>
      Object.assign(slot, { retractedAt: new Date(START - 2) }),
    ) as [Slot, Slot];
    given.release(new Date(START - 1));
    expect([given.state, given.retractedAt]).toEqual(['WITHDRAWN', new Date(START - 2)]);
    taken.withdraw(new Date(START - 1));
    expect([taken.state, taken.retractedAt]).toEqual(['WITHDRAWN', null]);
  });

  test('the refusal says the state it has', () => {
    expect(slotIn('BOOKED').notOpen()).toMatchObject({
      reason: 'SLOT_NOT_OPEN',
      options: { metadata: { state: 'BOOKED' } },
    });
  });
});
