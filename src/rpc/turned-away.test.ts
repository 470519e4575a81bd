import { expect, test } from '@jest/globals';
import { turnedAway } from './turned-away.ts';

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('a hundred thousand strays are counted and are two lines in the log', async () => {
  const lines: object[] = [];
  const turnAway = turnedAway({ info: (fields) => lines.push(fields), error() {} }, 200);
  turnAway('malformed request');
  await wait(50);
  for (let i = 0; i < 100_000; i++) turnAway(i % 4 ? 'no such method' : 'connection over the limit');
  await wait(300);
  expect(lines).toEqual([
    { counts: { 'malformed request': 1 } },
    { counts: { 'no such method': 75_000, 'connection over the limit': 25_000 } },
  ]);
});
