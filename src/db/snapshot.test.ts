import { expect, test } from '@jest/globals';
import { parseSnapshot, type Snapshot, seesAllOf } from './snapshot.ts';

const of = (text: string) => parseSnapshot(text) as Snapshot;

test('is read as PostgreSQL writes it', () => {
  expect(of('10:20:10,14')).toEqual({ xmin: 10n, xmax: 20n, inProgress: new Set([10n, 14n]) });
  expect(of('18446744073709551615:18446744073709551615:').inProgress.size).toBe(0);
  expect(['', '10:20', '10:20:x', '10:20:1,', '-1:2:'].map(parseSnapshot)).toEqual(Array(5).fill(undefined));
});

test.each([
  ['10:20:10,14', '10:20:10,14', true, 'the same'],
  ['14:25:14', '10:20:10,14', true, 'a later one, where 10 is over'],
  ['10:20:10,14', '14:25:14', false, 'an earlier one'],
  ['10:20:10,14', '14:20:14', false, 'one without what is over there, though nothing has begun between'],
  ['14:30:14,22', '14:20:14', true, 'what began later may go on'],
])('%s sees all of %s: %s (%s)', (later, earlier, expected) => {
  expect(seesAllOf(of(later), of(earlier))).toBe(expected);
});
