import { expect, test } from '@jest/globals';
import { compileSql, sql } from './sql.ts';

const wanted = (state: string) => sql`state = ${state}`;
const query = (id: number, more: readonly unknown[] = []) =>
  sql`SELECT * FROM ${sql.ref('slot')} WHERE id = ${id} AND ${wanted('OPEN')} AND n IN (${sql.join(more)})`;

test('values are numbered in the order of the text, whatever piece they stand in', () => {
  expect(compileSql(query(7, ['a', sql`b + ${2}`]))).toEqual({
    text: 'SELECT * FROM "slot" WHERE id = $1 AND state = $2 AND n IN ($3, b + $4)',
    values: [7, 'OPEN', 'a', 2],
  });
});

test('no value becomes a part of the text, and a name is quoted', () => {
  const evil = `'; DROP TABLE slot; --`;
  expect(compileSql(sql`SELECT ${evil}`)).toEqual({ text: 'SELECT $1', values: [evil] });
  expect(compileSql(sql.ref('a"b')).text).toBe('"a""b"');
});

test('what has the same pieces at different places has different texts', () => {
  const [first, second] = [sql`x`, sql`y`];
  const both = (one: unknown, other: unknown) => compileSql(sql`SELECT ${one}, ${other}`).text;
  expect([both(first, 1), both(1, first), both(first, second), both(second, first), both(1, 2)]).toEqual([
    'SELECT x, $1',
    'SELECT $1, x',
    'SELECT x, y',
    'SELECT y, x',
    'SELECT $1, $2',
  ]);
});

test('lists of other lengths, and with other words between, are other texts', () => {
  const list = (items: readonly unknown[], separator?: string) => compileSql(sql.join(items, separator)).text;
  expect([list([]), list([1]), list([1, 2]), list([1, 2], ' AND '), list([1, 2, 3], '')]).toEqual([
    '',
    '$1',
    '$1, $2',
    '$1 AND $2',
    '$1$2$3',
  ]);
});
