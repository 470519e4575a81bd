import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Offer, OfferedSlot } from './offered-slots.ts';
import { type KnownSlot, planSlots } from './plan-slots.ts';
import type { SlotState } from './slot.entity.ts';

// Times are small numbers here; `now` is 20, and the schedule was created at 10.

const NOW = new Date(20);
const OFFER = { createdAt: new Date(10) } as Offer;

const offered = (...times: [number, number][]): OfferedSlot[] =>
  times.map(([start, end]) => ({ start, end, offer: OFFER }));

let count = 0;
const known = (start: number, end: number, state: SlotState, more: Partial<KnownSlot> = {}): KnownSlot => ({
  id: String(count++),
  start,
  end,
  state,
  scheduled: true,
  retracted: false,
  changedAt: new Date(15),
  ...more,
});

const times = (slots: readonly { start: number; end: number }[]) => slots.map(({ start, end }) => [start, end]);

test.each<[string, KnownSlot[], number[][], number[][], number[][]]>([
  ['nothing is there: it is made', [], [[30, 40]], [], []],
  ['it is there already', [known(30, 40, 'OPEN')], [], [], []],
  ['it is there, sold', [known(30, 40, 'BOOKED')], [], [], []],
  ['an open one that fits no more gives way', [known(25, 35, 'OPEN')], [[30, 40]], [[25, 35]], []],
  ['a sold one that fits no more stays, and is in the way', [known(25, 35, 'BOOKED')], [], [], [[25, 35]]],
  ['one by hand stays, and is in the way', [known(25, 35, 'OPEN', { scheduled: false })], [], [], []],
  ['one by hand that is sold fits as it is', [known(25, 35, 'BOOKED', { scheduled: false })], [], [], []],
  ['one that was taken back since', [known(39, 45, 'WITHDRAWN')], [], [], []],
  ['one that was taken back before', [known(39, 45, 'WITHDRAWN', { changedAt: new Date(9) })], [[30, 40]], [], []],
  ['one that only touches it', [known(40, 45, 'BOOKED', { scheduled: false })], [[30, 40]], [], []],
  ['one that has begun is left alone', [known(15, 30, 'OPEN')], [[30, 40]], [], []],
  ['one that has begun is in the way', [known(15, 31, 'OPEN')], [], [], []],
])('where %s', (_, slots, make, withdraw, outside) => {
  const plan = planSlots(offered([30, 40]), slots, NOW);
  expect(times(plan.make)).toEqual(make);
  expect(times(plan.withdraw)).toEqual(withdraw);
  expect(times(plan.outside)).toEqual(outside);
});

test('a mark that it is offered no more is taken off what is asked for again, and off nothing else', () => {
  const marked = (start: number, end: number, state: SlotState) => known(start, end, state, { retracted: true });
  const slots = [marked(30, 40, 'BOOKED'), marked(50, 60, 'BOOKED'), known(70, 80, 'BOOKED'), marked(90, 99, 'OPEN')];
  const plan = planSlots(offered([30, 40], [70, 80], [90, 99]), slots, NOW);
  expect(times(plan.back)).toEqual([
    [30, 40],
    [90, 99],
  ]);
  expect(times(plan.outside)).toEqual([[50, 60]]);
});

const someOffered = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 6 })), { maxLength: 8 })
  .map((gaps) => {
    let at = NOW.getTime();
    const times = gaps.map(([gap, length]): [number, number] => {
      const start = at + gap;
      at = start + length;
      return [start, at];
    });
    return offered(...times);
  });

/** Live ones never overlap; withdrawn ones may. */
const someKnown = fc
  .array(
    fc.record({
      start: fc.integer({ min: 15, max: 70 }),
      length: fc.integer({ min: 1, max: 6 }),
      state: fc.constantFrom<SlotState>('OPEN', 'BOOKED', 'WITHDRAWN'),
      scheduled: fc.boolean(),
      changedAt: fc.integer({ min: 5, max: 20 }).map((ms) => new Date(ms)),
    }),
    { maxLength: 12 },
  )
  .map((all) => {
    const made = all.map(({ start, length, state, ...more }) => known(start, start + length, state, more));
    const live = (slot: KnownSlot) => slot.state !== 'WITHDRAWN';
    return made.filter((one, i) => !live(one) || !made.slice(0, i).some((other) => live(other) && overlap(one, other)));
  });

const overlap = (a: { start: number; end: number }, b: { start: number; end: number }) =>
  a.start < b.end && b.start < a.end;

test('whatever is there: afterwards nothing overlaps, people’s slots are untouched, and doing it again does nothing', () => {
  fc.assert(
    fc.property(someOffered, someKnown, (asked, before) => {
      const plan = planSlots(asked, before, NOW);
      for (const slot of plan.withdraw)
        expect([slot.state, slot.scheduled, slot.start > 20]).toEqual(['OPEN', true, true]);
      const after = [
        ...before.filter((slot) => !plan.withdraw.includes(slot)),
        ...plan.make.map(({ start, end }) => known(start, end, 'OPEN', { changedAt: NOW })),
      ];
      const live = after.filter(({ state }) => state !== 'WITHDRAWN');
      for (const [i, one] of live.entries())
        for (const other of live.slice(0, i)) expect(overlap(one, other)).toBe(false);
      for (const slot of asked.filter((one) => !live.some((other) => overlap(one, other)))) {
        const kept = before.filter(({ state, changedAt }) => state === 'WITHDRAWN' && changedAt.getTime() >= 10);
        expect(kept.some((one) => overlap(one, slot))).toBe(true);
      }
      const again = planSlots(asked, after, NOW);
      expect([again.make, again.withdraw]).toEqual([[], []]);
      expect(times(again.outside)).toEqual(times(plan.outside));
    }),
    { numRuns: 2_000 },
  );
});
