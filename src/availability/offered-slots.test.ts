import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Temporal } from 'temporal-polyfill';
import { checkTimeZone } from '../auth/time-zone.ts';
import { firstMomentAt, firstMomentsOf } from './local-time.ts';
import { horizon, mostSlots, nextDay, type Offer, offeredSlots, slotsInWindow, slotsOf } from './offered-slots.ts';
import type { DayWindow } from './schedule.entity.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const EVERY_DAY = [1, 2, 3, 4, 5, 6, 7];

/** Changes of clocks by an hour, by half of one, at midnight, far south and far north; and zones without any. */
const ZONES = [
  'Europe/Berlin',
  'America/New_York',
  'America/St_Johns',
  'Australia/Lord_Howe',
  'Africa/Cairo',
  'Asia/Beirut',
  'America/Sao_Paulo',
  'America/Santiago',
  'Africa/Casablanca',
  'Pacific/Apia',
  'Pacific/Chatham',
  'Asia/Tehran',
  'Antarctica/Troll',
  'Asia/Kolkata',
  'UTC',
];

const minutes = (clock: string) => Number(clock.slice(0, 2)) * 60 + Number(clock.slice(3));

function offer(timeZone: string, windows: readonly DayWindow[], more: Partial<Offer> = {}): Offer {
  return {
    id: 'a',
    createdAt: new Date(0),
    timeZone,
    fromDate: '1970-01-01',
    untilDate: null,
    advanceDays: 60,
    windows: EVERY_DAY.flatMap((weekday) => windows.map((window) => ({ weekday, ...window }))),
    ...more,
  };
}

const window = (start: string, end: string, slotMinutes = 60, breakMinutes = 0): DayWindow => ({
  start: minutes(start),
  end: minutes(end),
  slotMinutes,
  breakMinutes,
});

const asking = (one: Offer, exceptions: ReadonlyMap<string, readonly DayWindow[]> = new Map()) => ({
  offer: one,
  before: [],
  exceptions,
});

/** Making one takes as long as asking it a thousand times. */
const formats = new Map<string, Intl.DateTimeFormat>();

/** What the clock on the wall shows, asked of Intl rather than of what is tested. */
function onTheWall(timeZone: string, ms: number): string {
  const format =
    formats.get(timeZone) ?? new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'short' });
  formats.set(timeZone, format);
  return format.format(ms);
}

/** Starts and ends of the slots of one date, as the clock on the wall shows them. */
function walls(timeZone: string, date: string, windows: readonly DayWindow[]): string[] {
  const midnight = Date.parse(`${date}T00:00Z`);
  const span = { from: new Date(midnight - 2 * DAY), until: new Date(midnight + 3 * DAY) };
  const one = offer(timeZone, windows, {
    fromDate: date,
    untilDate: Temporal.PlainDate.from(date).add({ days: 1 }).toString(),
  });
  return [...slotsOf(asking(one), span)].map(({ start, end }) => {
    expect(end - start).toBe((windows[0]?.slotMinutes ?? 0) * MINUTE);
    return `${onTheWall(timeZone, start).slice(11)}-${onTheWall(timeZone, end).slice(11)}`;
  });
}

describe('a window stays where it is on the clock', () => {
  test.each(ZONES)('09:00 to 12:00 all year round, %s', (timeZone) => {
    const span = { from: new Date('2026-01-01Z'), until: new Date('2028-01-01Z') };
    const slots = [...slotsOf(asking(offer(timeZone, [window('09:00', '12:00')])), span)];
    expect(slots.length).toBeGreaterThan(3 * 729);
    const times = new Set(slots.map(({ start, end }) => `${onTheWall(timeZone, start).slice(11)} ${end - start}`));
    expect([...times].sort()).toEqual([`09:00 ${HOUR}`, `10:00 ${HOUR}`, `11:00 ${HOUR}`]);
  });
});

describe('where clocks change', () => {
  const night = [window('00:00', '05:00')];

  test.each([
    [
      'forward at two, an hour',
      'Europe/Berlin',
      '2026-03-29',
      ['00:00-01:00', '01:00-03:00', '03:00-04:00', '04:00-05:00'],
    ],
    [
      'back at three, an hour',
      'Europe/Berlin',
      '2026-10-25',
      ['00:00-01:00', '01:00-02:00', '02:00-02:00', '02:00-03:00', '03:00-04:00', '04:00-05:00'],
    ],
    ['forward at midnight', 'Africa/Cairo', '2026-04-24', ['01:00-02:00', '02:00-03:00', '03:00-04:00', '04:00-05:00']],
    ['forward at midnight', 'Asia/Beirut', '2026-03-29', ['01:00-02:00', '02:00-03:00', '03:00-04:00', '04:00-05:00']],
    [
      'forward at midnight',
      'America/Sao_Paulo',
      '2018-11-04',
      ['01:00-02:00', '02:00-03:00', '03:00-04:00', '04:00-05:00'],
    ],
    [
      'half an hour forward at two',
      'Australia/Lord_Howe',
      '2026-10-04',
      ['00:00-01:00', '01:00-02:30', '02:30-03:30', '03:30-04:30'],
    ],
    [
      'half an hour back at two',
      'Australia/Lord_Howe',
      '2026-04-05',
      ['00:00-01:00', '01:00-01:30', '01:30-02:30', '02:30-03:30', '03:30-04:30'],
    ],
    ['over the date line', 'Pacific/Apia', '2011-12-30', []],
    [
      'not at all',
      'Asia/Kolkata',
      '2026-03-29',
      ['00:00-01:00', '01:00-02:00', '02:00-03:00', '03:00-04:00', '04:00-05:00'],
    ],
  ])('%s, %s %s: each slot takes its whole time, one after the other', (_, zone, date, expected) => {
    expect(walls(zone, date, night)).toEqual(expected);
  });

  test('a time that clocks leave out is the moment at which they jump over it', () => {
    expect(walls('Europe/Berlin', '2026-03-29', [window('02:30', '05:00')])).toEqual(['03:00-04:00', '04:00-05:00']);
    expect(walls('Europe/Berlin', '2026-03-29', [window('00:00', '02:30')])).toEqual(['00:00-01:00', '01:00-03:00']);
    expect(walls('Europe/Berlin', '2026-03-29', [window('02:00', '03:00')])).toEqual([]);
    expect(walls('Europe/Berlin', '2026-03-29', [window('02:15', '03:30', 30)])).toEqual(['03:00-03:30']);
  });

  test('a time that they show twice is the first of both', () => {
    const first = [
      ...slotsOf(asking(offer('Europe/Berlin', [window('02:00', '02:30', 30)])), {
        from: new Date('2026-10-24T22:00Z'),
        until: new Date('2026-10-25T22:00Z'),
      }),
    ];
    expect(first.map(({ start }) => new Date(start).toISOString())).toEqual(['2026-10-25T00:00:00.000Z']);
    expect(walls('Europe/Berlin', '2026-10-25', [window('01:00', '02:30', 30)])).toEqual([
      '01:00-01:30',
      '01:30-02:00',
      '02:00-02:30',
    ]);
  });

  test('a day that is there only once more is not lost after one that clocks left out', () => {
    expect(walls('Pacific/Apia', '2011-12-31', [window('09:00', '11:00')])).toEqual(['09:00-10:00', '10:00-11:00']);
    expect(walls('Pacific/Apia', '2011-12-29', [window('23:00', '24:00')])).toEqual(['23:00-00:00']);
  });
});

const someDate = fc
  .integer({ min: 0, max: 366 * 60 })
  .map((days) => Temporal.PlainDate.from('1975-01-01').add({ days }).toString());
const aZone = fc.constantFrom(...ZONES);

/** A zone and a date there: half of them the day of the next change of clocks, if there is one, or the day before. */
const aDayThere = fc
  .tuple(aZone, someDate, fc.boolean(), fc.integer({ min: 0, max: 1 }))
  .map(([zone, date, changing, before]): [zone: string, date: string] => {
    const jump = Temporal.PlainDate.from(date).toZonedDateTime(zone).getTimeZoneTransition('next');
    return [zone, changing && jump ? jump.toPlainDate().subtract({ days: before }).toString() : date];
  });
const aMinute = fc.integer({ min: 0, max: 1440 });

test('what is earlier on the clock is never later in truth, and the clock shows it, or has jumped over it', () => {
  fc.assert(
    fc.property(aDayThere, aMinute, aMinute, ([zone, day], one, other) => {
      const date = Temporal.PlainDate.from(day);
      const at = (minute: number) => firstMomentAt(zone, date, minute);
      const [early, late] = [Math.min(one, other), Math.max(one, other)];
      expect(at(early)).toBeLessThanOrEqual(at(late));
      const wanted = date.toPlainDateTime().add({ minutes: one }).toString().slice(0, 16).replace('T', ' ');
      expect(onTheWall(zone, at(one)) >= wanted).toBe(true);
      expect(onTheWall(zone, at(one) - MINUTE) < wanted).toBe(true);
      expect(firstMomentsOf(zone, date)(one)).toBe(at(one));
    }),
    { numRuns: 800 },
  );
});

const aWindow = fc
  .record({
    start: fc.integer({ min: 0, max: 1435 }),
    length: fc.integer({ min: 5, max: 1440 }),
    slotMinutes: fc.integer({ min: 5, max: 480 }),
    breakMinutes: fc.integer({ min: 0, max: 60 }),
  })
  .map(({ start, length, ...window }) => ({ ...window, start, end: Math.min(1440, start + length) }));

/** Windows that don't overlap: later ones give way. */
const windowsOfADay = fc
  .array(aWindow, { minLength: 1, maxLength: 4 })
  .map((all) =>
    all.filter((one, i) => !all.slice(0, i).some((other) => one.start < other.end && other.start < one.end)),
  );

test('whatever the zone, the year and the windows: whole slots in order, none over another, all on whole minutes', () => {
  fc.assert(
    fc.property(aDayThere, windowsOfADay, ([zone, day], windows) => {
      const from = new Date(`${day}T00:00Z`);
      const span = { from, until: new Date(from.getTime() + 5 * DAY) };
      const lengths = new Set(windows.map(({ slotMinutes }) => slotMinutes * MINUTE));
      let before = 0;
      for (const { start, end } of slotsOf(asking(offer(zone, windows)), span)) {
        expect(lengths.has(end - start)).toBe(true);
        expect(start).toBeGreaterThanOrEqual(before);
        expect(start % MINUTE).toBe(0);
        expect(start >= span.from.getTime() && start < span.until.getTime()).toBe(true);
        before = end;
      }
    }),
    { numRuns: 400 },
  );
});

test('several schedules in several zones: none over another, and the oldest has what it asks for', () => {
  const schedule = fc.tuple(aZone, windowsOfADay);
  fc.assert(
    fc.property(aDayThere, fc.array(schedule, { minLength: 1, maxLength: 4 }), ([, day], all) => {
      const schedules = all.map(([zone, windows], i) => offer(zone, windows, { id: String(i) }));
      const from = new Date(`${day}T00:00Z`);
      const span = { from, until: new Date(from.getTime() + 3 * DAY) };
      const slots = offeredSlots({ schedules, exceptions: new Map() }, () => span);
      for (const [i, { start }] of slots.entries()) expect(start).toBeGreaterThanOrEqual(slots[i - 1]?.end ?? 0);
      const alone = [...slotsOf(asking(schedules[0] as Offer), span)];
      expect(slots.filter((slot) => slot.offer.id === '0')).toEqual(alone);
      const asked = schedules.flatMap((one) => [...slotsOf(asking(one), span)]);
      const lost = asked.filter(
        ({ start, offer: by }) => !slots.some((slot) => slot.start === start && slot.offer === by),
      );
      for (const one of lost) expect(slots.some(({ start, end }) => start < one.end && one.start < end)).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test('exceptions: closed is nothing, other windows are those of the oldest schedule that has the date', () => {
  const [young, old, over] = ['b', 'a', '0'].map((id) => offer('Asia/Kolkata', [window('09:00', '11:00')], { id })) as [
    Offer,
    Offer,
    Offer,
  ];
  const schedules = [{ ...over, untilDate: '2026-12-02' }, old, { ...young, windows: [] }];
  const exceptions = new Map([
    ['2026-12-03', []],
    ['2026-12-04', [window('14:00', '15:00', 20)]],
    ['2026-12-01', [window('20:00', '21:00')]],
  ]);
  const span = { from: new Date('2026-11-30T18:30Z'), until: new Date('2026-12-05T18:30Z') };
  const slots = offeredSlots({ schedules, exceptions }, () => span);
  expect(slots.map(({ start, offer: by }) => `${by.id} ${onTheWall('Asia/Kolkata', start)}`)).toEqual([
    '0 2026-12-01 20:00',
    'a 2026-12-02 09:00',
    'a 2026-12-02 10:00',
    'a 2026-12-04 14:00',
    'a 2026-12-04 14:20',
    'a 2026-12-04 14:40',
    'a 2026-12-05 09:00',
    'a 2026-12-05 10:00',
  ]);
});

test('dates: from the first on, before the last', () => {
  const one = offer('Asia/Kolkata', [window('09:00', '10:00')], { fromDate: '2026-12-02', untilDate: '2026-12-04' });
  const slots = [...slotsOf(asking(one), { from: new Date('2026-11-01Z'), until: new Date('2027-01-01Z') })];
  expect(slots.map(({ start }) => onTheWall('Asia/Kolkata', start))).toEqual(['2026-12-02 09:00', '2026-12-03 09:00']);
});

test('the horizon: so many days of the zone, today among them; the next one comes at its midnight', () => {
  const now = new Date('2026-03-28T22:30Z'); // half past eleven in the evening in Berlin, and clocks go forward that night
  const one = offer('Europe/Berlin', [window('09:00', '10:00')], { advanceDays: 2 });
  expect(horizon(one, now).until).toEqual(new Date('2026-03-29T22:00Z'));
  expect(nextDay([one], now)).toEqual(new Date('2026-03-28T23:00Z'));
  expect(nextDay([one], new Date('2026-03-28T23:00Z'))).toEqual(new Date('2026-03-29T22:00Z'));
  expect(nextDay([{ ...one, untilDate: '2026-03-28' }], now)).toBeNull();
  expect(nextDay([], now)).toBeNull();
});

test('how many slots a window holds, and a schedule keeps at the most', () => {
  expect(slotsInWindow(window('09:00', '12:00', 30))).toBe(6);
  expect(slotsInWindow(window('09:00', '12:00', 50, 15))).toBe(3);
  expect(slotsInWindow(window('09:00', '12:00', 50, 16))).toBe(2);
  fc.assert(
    fc.property(aWindow, fc.integer({ min: 1, max: 400 }), (one, advanceDays) => {
      const schedule = offer('UTC', [one], { advanceDays });
      const now = new Date('2026-12-02T00:00Z');
      const span = { ...horizon(schedule, now), from: now };
      expect([...slotsOf(asking(schedule), span)].length).toBe(mostSlots(schedule));
    }),
    { numRuns: 50 },
  );
});

test('every zone that accounts can have is known', () => {
  const names = [
    ...Intl.supportedValuesOf('timeZone'),
    'GB',
    'W-SU',
    'EST5EDT',
    'GMT0',
    'US/Pacific',
    'Etc/GMT+5',
    'NZ-CHAT',
  ];
  const date = Temporal.PlainDate.from('2026-12-24');
  for (const name of names) expect(firstMomentAt(checkTimeZone('zone', name), date, 540)).toBeGreaterThan(0);
});
