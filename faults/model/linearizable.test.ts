import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Call } from './history.ts';
import { whyNotLinearizable } from './linearizable.ts';
import { perform } from './specification.ts';
import type { Ask, World } from './world.ts';

const BEGIN: World = {
  now: 1,
  slots: {
    'd1@20-40': { doctor: 'd1', from: 20, until: 40, state: 'OPEN' },
    'd1@40-60': { doctor: 'd1', from: 40, until: 60, state: 'OPEN' },
    'd2@30-50': { doctor: 'd2', from: 30, until: 50, state: 'OPEN' },
  },
  bookings: {},
  answers: {},
};
const A = 'd1@20-40';
const B = 'd1@40-60';

/** A call of `who`: begun and ended at these milliseconds, and what it was told. `(replayed)` at the end of what it was told counts. */
function call(
  who: string,
  asks: Ask,
  [from, until]: readonly [number, number],
  says?: string,
  request = `${who}-${from}`,
): Call {
  const replayed = says?.endsWith(' (replayed)') ?? false;
  const answer = says === undefined ? undefined : { says: says.replace(/ \(replayed\)$/, ''), replayed };
  return {
    operation: { caller: who, request: asks.method.startsWith('Get') ? '' : request, asks },
    from,
    until,
    answer,
  };
}

const book = (slot: string): Ask => ({ method: 'BookSlot', slot, words: '' });
const cancel = (booking: string): Ask => ({ method: 'CancelBooking', booking, words: '' });
const move = (booking: string, slot: string): Ask => ({ method: 'RescheduleBooking', booking, slot });
const read = (slot: string): Ask => ({ method: 'GetSlot', slot });

const TIMES: Record<string, string> = { [A]: 'd1, 20 to 40', [B]: 'd1, 40 to 60', 'd2@30-50': 'd2, 30 to 50' };
const slot = (name: string, state: string) => `OK slot ${name} (${TIMES[name]}) is ${state}`;
function booking(name: string, where: string, state = 'CONFIRMED'): string {
  const [doctor, times] = (TIMES[where] as string).split(', ');
  const by = state === 'CANCELLED' ? ' by PATIENT ""' : '';
  return `OK booking ${name} of ${name.split(':', 1)[0]} with ${doctor}, ${times} (slot ${where}), "", is ${state}${by}; made at 1, changed at 1`;
}
const why = (...history: Call[]) => whyNotLinearizable(history, BEGIN);

describe('what can be explained is accepted', () => {
  test('an empty history', () => expect(why()).toBeUndefined());

  test('of two at once for one slot either may win, whoever asked first', () => {
    for (const [first, second] of [
      ['p1', 'p2'],
      ['p2', 'p1'],
    ] as const) {
      const won = call(first, book(A), [0, 10], booking(`${first}:${first}-0`, A));
      expect(why(won, call(second, book(A), [0, 10], 'SLOT_TAKEN'))).toBeUndefined();
    }
  });

  test('booked, cancelled and booked by another while the first answers are still on their way', () => {
    expect(
      why(
        call('p1', book(A), [0, 50], booking('p1:p1-0', A)),
        call('p1', cancel('p1:p1-0'), [10, 60], booking('p1:p1-0', A, 'CANCELLED')),
        call('p2', book(A), [20, 30], booking('p2:p2-20', A)),
      ),
    ).toBeUndefined();
  });

  test('opposite reschedules: one moves, and the other finds its slot taken', () => {
    expect(
      why(
        call('p1', book(A), [0, 1], booking('p1:p1-0', A)),
        call('p2', book(B), [0, 1], booking('p2:p2-0', B)),
        call('p1', move('p1:p1-0', B), [2, 9], 'SLOT_TAKEN'),
        call('p2', move('p2:p2-0', A), [2, 9], 'SLOT_TAKEN'),
      ),
    ).toBeUndefined();
  });

  test('a slot that was held before the first call, given back and booked by another', () => {
    const held = { ...BEGIN.slots, [A]: { ...BEGIN.slots[A], state: 'BOOKED' } } as World['slots'];
    const facts = { patient: 'p1', slot: A, state: 'CONFIRMED', words: '', madeAt: 1, changedAt: 1 } as const;
    const begin = {
      ...BEGIN,
      slots: held,
      bookings: { 'p1:b': { ...facts, cancelWords: '', cancelledBy: '' } },
    } as const;
    const cancelled = call('p1', cancel('p1:b'), [0, 9], booking('p1:b', A, 'CANCELLED'));
    const booked = call('p2', book(A), [0, 9], booking('p2:p2-0', A));
    expect(whyNotLinearizable([booked, cancelled], begin)).toBeUndefined();
    expect(whyNotLinearizable([booked], begin)).toContain('but would be told: SLOT_TAKEN');
  });

  test('a call without an answer may have taken effect, later too, or never', () => {
    const lost = call('p1', book(A), [0, Number.POSITIVE_INFINITY]);
    expect(why(lost, call('p2', book(A), [10, 20], 'SLOT_TAKEN'))).toBeUndefined();
    expect(why(lost, call('p2', book(A), [10, 20], booking('p2:p2-10', A)))).toBeUndefined();
    const free = call('d1', read(A), [10, 20], slot(A, 'OPEN'));
    expect(why(lost, free, call('d1', read(A), [30, 40], slot(A, 'BOOKED')))).toBeUndefined();
  });

  test('the retry of a call without an answer is told what happened', () => {
    const lost = call('p1', book(A), [0, Number.POSITIVE_INFINITY], undefined, 'r');
    const first = booking('p1:r', A);
    expect(why(lost, call('p1', book(A), [10, 20], `${first} (replayed)`, 'r'))).toBeUndefined();
    expect(why(lost, call('p1', book(A), [10, 20], first, 'r'))).toBeUndefined();
  });
});

describe('what no order explains is rejected, and people are told why', () => {
  test('a slot sold twice', () => {
    const said = why(
      call('p1', book(A), [0, 10], booking('p1:p1-0', A)),
      call('p2', book(A), [5, 12], booking('p2:p2-5', A)),
      call('p3', book(B), [0, 10], booking('p3:p3-0', B)),
    );
    expect(said).toContain('No order of these calls explains what was answered.');
    expect(said).toMatch(/p[12] BookSlot d1@20-40 "" .*\n {7}but would be told: SLOT_TAKEN/);
    expect(said).not.toContain('p3'); // has nothing to do with it
  });

  test('an acknowledged booking that is lost', () => {
    const said = why(
      call('p1', book(A), [0, 10], booking('p1:p1-0', A)),
      call('p2', book(A), [20, 30], booking('p2:p2-20', A)),
    );
    expect(said).toContain('but would be told: SLOT_TAKEN');
  });

  test('a read of what was so before the last answer', () => {
    const said = why(
      call('p1', book(A), [0, 10], booking('p1:p1-0', A)),
      call('d1', read(A), [11, 12], slot(A, 'OPEN')),
    );
    expect(said).toContain(`but would be told: ${slot(A, 'BOOKED')}`);
  });

  test('a repetition with another answer, or one that takes effect twice', () => {
    const first = call('p1', book(A), [0, 10], booking('p1:r', A), 'r');
    expect(why(first, call('p1', book(A), [20, 30], 'SLOT_TAKEN (replayed)', 'r'))).toContain('(replayed)');
    expect(why(first, call('p1', book(A), [20, 30], booking('p1:r', A), 'r'))).toContain('(replayed)');
    expect(why(first, call('p1', book(B), [20, 30], booking('p1:r', B), 'r'))).toContain('REQUEST_ID_REUSED');
  });

  test('a slot freed twice: two bookings get it after one cancel', () => {
    const said = why(
      call('p1', book(A), [0, 1], booking('p1:p1-0', A)),
      call('p1', cancel('p1:p1-0'), [2, 3], booking('p1:p1-0', A, 'CANCELLED'), 'c'),
      call('p2', book(A), [4, 5], booking('p2:p2-4', A)),
      call('p1', cancel('p1:p1-0'), [6, 7], booking('p1:p1-0', A, 'CANCELLED'), 'c2'),
      call('p3', book(A), [8, 9], booking('p3:p3-8', A)),
    );
    expect(said).toContain('but would be told: BOOKING_STATE state=CANCELLED');
  });

  test('a cancel that leaves the slot taken, and a reschedule that keeps the old one', () => {
    const booked = call('p1', book(A), [0, 1], booking('p1:p1-0', A));
    const cancelled = call('p1', cancel('p1:p1-0'), [2, 3], booking('p1:p1-0', A, 'CANCELLED'));
    const moved = call('p1', move('p1:p1-0', B), [2, 3], booking('p1:p1-0', B));
    const late = call('p2', book(A), [4, 5], 'SLOT_TAKEN');
    for (const freed of [cancelled, moved])
      expect(why(booked, freed, late)).toContain('but would be told: OK booking p2:');
  });

  test('a patient in two places, which slots looked at one by one would not show', () => {
    const said = why(
      call('p1', book(A), [0, 10], booking('p1:p1-0', A), 'p1-0'),
      call('p1', book('d2@30-50'), [0, 10], booking('p1:q', 'd2@30-50'), 'q'),
    );
    expect(said).toContain('but would be told: PATIENT_BUSY');
  });

  test('two answers that contradict each other about who came first', () => {
    const said = why(
      call('p1', move('p1:p1-0', B), [2, 9], booking('p1:p1-0', B)),
      call('p1', book(A), [0, 1], booking('p1:p1-0', A)),
      call('p2', book(A), [2, 9], booking('p2:p2-2', A)),
      call('d1', read(B), [10, 11], slot(B, 'OPEN')),
    );
    expect(said).toContain(`but would be told: ${slot(B, 'BOOKED')}`);
  });
});

describe('compared with trying every order', () => {
  const asks: fc.Arbitrary<Ask> = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(book(A), book(B), book('d2@30-50')) },
    { weight: 2, arbitrary: fc.constantFrom(cancel('p1:r'), cancel('p2:r'), move('p1:r', B), move('p2:r', A)) },
    { weight: 1, arbitrary: fc.constantFrom(read(A), read(B)) },
  );
  /** Who asks what and when; whether an answer came; and the place in the order from which the answer is taken. */
  const event = fc.record({
    asks,
    patient: fc.constantFrom('p1', 'p2'),
    request: fc.constantFrom('r', 'q'),
    from: fc.nat(9),
    lasts: fc.nat(6),
    lost: fc.nat(4).map((n) => n === 4),
    place: fc.nat(99),
  });

  /** Answers as they are in one order of the calls, which needn't be one that the times allow. */
  function historyOf(events: readonly (typeof event extends fc.Arbitrary<infer T> ? T : never)[]): Call[] {
    let world = BEGIN;
    const ordered = [...events].sort((a, b) => a.place - b.place);
    return ordered.map(({ asks, patient, request, from, lasts, lost }) => {
      const reads = asks.method === 'GetSlot';
      const operation = { caller: reads ? 'd1' : patient, request: reads ? '' : request, asks };
      const { world: after, answer } = perform(world, operation);
      world = after;
      return lost
        ? { operation, from, until: Number.POSITIVE_INFINITY, answer: undefined }
        : { operation, from, until: from + lasts, answer };
    });
  }

  /** Tries every order, and every choice of calls without an answer that never took effect. */
  function anyOrder(left: readonly Call[], world: World): boolean {
    if (left.every(({ answer }) => !answer)) return true;
    return left.some((call) => {
      const others = left.filter((other) => other !== call);
      if (others.some(({ until }) => until < call.from)) return false;
      const { world: after, answer } = perform(world, call.operation);
      const explained = !call.answer || (call.answer.says === answer.says && call.answer.replayed === answer.replayed);
      return explained && anyOrder(others, after);
    });
  }

  test('the verdict is the same, whatever the history', () => {
    const verdicts = { accepted: 0, rejected: 0 };
    fc.assert(
      fc.property(fc.array(event, { minLength: 2, maxLength: 6 }), (events) => {
        const history = historyOf(events);
        const accepted = anyOrder(history, BEGIN);
        verdicts[accepted ? 'accepted' : 'rejected']++;
        expect(whyNotLinearizable(history, BEGIN) === undefined).toBe(accepted);
      }),
      { numRuns: 2_000 },
    );
    expect(Math.min(verdicts.accepted, verdicts.rejected)).toBeGreaterThan(100);
  });
});
