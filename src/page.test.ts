import { expect, test } from '@jest/globals';
import { pageOf } from './page.ts';

const rows = (count: number, text = '') => Array.from({ length: count }, (_, id) => ({ id, text }));
const idOf = ({ id }: { id: number }) => id;

test('one row more than asked for tells that there is another page', () => {
  expect(pageOf(rows(3), 3, idOf)).toEqual({ rows: rows(3), next: undefined });
  expect(pageOf(rows(4), 3, idOf)).toEqual({ rows: rows(3), next: 2 });
  expect(pageOf(rows(0), 3, idOf)).toEqual({ rows: [], next: undefined });
});

test('a page of large rows ends before an answer is too large, and goes on after its last one', () => {
  const large = rows(251, 'अ'.repeat(2_000));
  const { rows: shown, next } = pageOf(large, 250, idOf);
  expect(shown.length).toBeLessThan(250);
  expect(shown.length).toBeGreaterThan(100);
  expect(next).toBe(shown.length - 1);
  expect(Buffer.byteLength(JSON.stringify(shown))).toBeLessThan(1_000_000);
  expect(pageOf(large.slice(shown.length), 250, idOf).rows[0]?.id).toBe(shown.length);
});

test('a row that is too large by itself is a page', () => {
  expect(pageOf(rows(2, 'x'.repeat(2_000_000)), 50, idOf)).toMatchObject({ rows: [{ id: 0 }], next: 0 });
});
