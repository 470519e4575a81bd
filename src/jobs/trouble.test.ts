import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { createTrouble } from './trouble.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

function watched() {
  const lines: string[] = [];
  const stopping = new AbortController();
  const log = {
    warn: ({ problem }: { problem: string }) => void lines.push(problem),
    info: (line: string) => void lines.push(line),
  };
  return { lines, stopping, trouble: createTrouble(log as never, stopping.signal) };
}

test('trouble is told once, however often it happens, and that it is over when none has come for half a minute', () => {
  const { lines, trouble } = watched();
  trouble.seemsOver();
  for (let i = 0; i < 100; i++) {
    trouble.happened(`refused ${i}`);
    jest.advanceTimersByTime(10_000);
    trouble.seemsOver();
  }
  expect(lines).toEqual(['refused 0']);
  jest.advanceTimersByTime(20_000);
  trouble.seemsOver();
  trouble.seemsOver();
  expect(lines).toEqual(['refused 0', 'background jobs go on']);
  trouble.happened('again');
  expect(lines).toHaveLength(3);
});

test('connections that end because all stops are none', () => {
  const { lines, stopping, trouble } = watched();
  stopping.abort();
  trouble.happened('connection terminated');
  expect(lines).toEqual([]);
});
