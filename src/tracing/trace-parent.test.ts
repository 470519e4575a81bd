import { expect, test } from '@jest/globals';
import { traceIdIn } from './trace-parent.ts';

const ID = '0af7651916cd43dd8448eb211c80319c';
const idIn = (traceparent?: string) => traceIdIn(new Headers(traceparent === undefined ? {} : { traceparent }));

test('a call says which trace it belongs to', () => {
  expect(idIn(`00-${ID}-b7ad6b7169203331-01`)).toBe(ID);
});

test.each([
  undefined,
  '',
  ID,
  `00-${ID}-b7ad6b7169203331`,
  `00-${ID.toUpperCase()}-b7ad6b7169203331-01`,
  `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
  `00-${ID}-b7ad6b7169203331-01, 00-${ID}-b7ad6b7169203331-01`,
  `00-patient@example.test-b7ad6b7169203331-01`,
])('what is none goes nowhere: %s', (header) => {
  expect(idIn(header)).toBeUndefined();
});
