import { expect, test } from '@jest/globals';
import { createLog } from './log.ts';

function logged(fields: object): Record<string, unknown> {
  const lines: string[] = [];
  createLog('info', { write: (line: string) => void lines.push(line) }).info(fields, 'said');
  return JSON.parse(lines[0] ?? '') as Record<string, unknown>;
}

test('what is private is cut out, at the top and one level down, and what was given stays as it is', () => {
  const given = { token: 'secret', plain: 1, person: { email: 'a@b.c', name: 'n' }, list: [1, 2] };
  expect(logged(given)).toMatchObject({
    token: '[cut]',
    plain: 1,
    person: { email: '[cut]', name: 'n' },
    list: [1, 2],
  });
  expect(given.token).toBe('secret');
  expect(given.person.email).toBe('a@b.c');
});

test('of an error its own words and place are logged, and nothing that a driver adds', () => {
  const error = Object.assign(new Error('it broke'), { code: '23505', detail: 'Key (email)=(a@b.c) exists' });
  const { err } = logged({ err: error }) as { err: Record<string, unknown> };
  expect(err).toMatchObject({ type: 'Error', message: 'it broke', code: '23505' });
  expect(JSON.stringify(err)).not.toContain('a@b.c');
});
