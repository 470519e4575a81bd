import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Fault } from '../fault.ts';
import { type Cursor, decodePage, encodePage, pageSize } from './page.ts';

const ID = '0192f0c4-7e5a-7b3c-8d2e-1f2a3b4c5d6e';
const AT = '2026-11-23T10:00:00.123456Z';
const QUERY = { doctorId: ID, states: ['OPEN'], from: new Date(0), limit: 5n, until: undefined };
const refused = expect.objectContaining({ reason: 'PAGE_TOKEN_INVALID' });

const decoding = (query: unknown, token: string, shape: Parameters<typeof decodePage>[2]) => () =>
  decodePage(query, token, shape);

/** A token as encodePage writes it, around anything. */
function forged(query: unknown, cursor: unknown): string {
  return encodePage(query, cursor as Cursor);
}

describe('page tokens', () => {
  test('bring the cursor back, for the same query', () => {
    const cursor = [3.5, 'Dr. Ärztin', AT, ID];
    const token = encodePage(QUERY, cursor);
    expect(token).toMatch(/^[A-Za-z0-9_-]{1,1000}$/);
    expect(decodePage({ ...QUERY }, token, ['number', 'text', 'instant', 'uuid'])).toEqual(cursor);
    const { doctorId, ...rest } = QUERY;
    expect(decodePage({ ...rest, doctorId, extra: undefined }, token, ['number', 'text', 'instant', 'uuid'])).toEqual(
      cursor,
    );
    expect(decodePage(QUERY, '', ['uuid'])).toBeUndefined();
  });

  test.each<[string, unknown]>([
    ['another value', { ...QUERY, doctorId: 'other' }],
    ['another order', { ...QUERY, states: ['BOOKED', 'OPEN'] }],
    ['another number', { ...QUERY, limit: 6n }],
    ['a number for a bigint', { ...QUERY, limit: 5 }],
    ['another time', { ...QUERY, from: new Date(1) }],
    ['one more', { ...QUERY, until: new Date(0) }],
    ['none', undefined],
  ])('are refused with %s in the query', (_what, query) => {
    expect(decoding(query, encodePage(QUERY, [ID]), ['uuid'])).toThrow(refused);
  });

  test.each<[string, unknown, Parameters<typeof decodePage>[2]]>([
    ['too few', [], ['uuid']],
    ['too many', [ID, ID], ['uuid']],
    ['none', ID, ['uuid']],
    ['an object', { 0: ID, length: 1 }, ['uuid']],
    ['null', [null], ['text']],
    ['a nested list', [[ID]], ['uuid']],
    ['text for a number', ['1'], ['number']],
    ['a number for text', [1], ['text']],
    ['U+0000', ['a\0'], ['text']],
    ['a lone surrogate', ['\ud800'], ['text']],
    ['SQL for an id', [`${ID}' OR 1=1`], ['uuid']],
    ['a time without a zone', ['2026-11-23T10:00:00'], ['instant']],
    ['the 30th of February', ['2026-02-30T10:00:00Z'], ['instant']],
    ['the year 0', ['0000-01-01T00:00:00Z'], ['instant']],
    ['hour 25', ['2026-11-23T25:00:00Z'], ['instant']],
  ])('are refused with %s for a cursor', (_what, cursor, shape) => {
    expect(decoding(QUERY, forged(QUERY, cursor), shape)).toThrow(refused);
  });

  test('are refused when anything in them is changed', () => {
    const token = encodePage(QUERY, [AT, ID]);
    for (const odd of [
      `${token}A`,
      token.slice(1),
      `${token}=`,
      token.replace(/./, 'z'),
      ` ${token}`,
      'A'.repeat(2000),
      '!',
      'é',
    ]) {
      expect(decoding(QUERY, odd, ['instant', 'uuid'])).toThrow(refused);
    }
  });

  test('whatever the token, it is refused with PAGE_TOKEN_INVALID or of the right shape', () => {
    const tokens = fc.oneof(
      fc.string(),
      fc.base64String(),
      fc.json().map((json) => forged(QUERY, JSON.parse(json))),
    );
    fc.assert(
      fc.property(tokens, (token) => {
        try {
          const cursor = decodePage(QUERY, token, ['number', 'text']);
          expect(cursor === undefined || (typeof cursor[0] === 'number' && typeof cursor[1] === 'string')).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(Fault);
        }
      }),
    );
  });
});

test.each([
  [0, 50],
  [-1, 50],
  [1, 1],
  [250, 250],
  [251, 250],
])('a page size of %i means %i', (asked, size) => expect(pageSize(asked)).toBe(size));
