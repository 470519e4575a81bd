import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { normalEmail, User } from './user.entity.ts';

const NOW = new Date('2030-01-01T00:00:00Z');

const account = () =>
  User.signUp(
    { email: 'Asha@Example.TEST', passwordHash: 'hash', displayName: '  Asha ', role: 'PATIENT', timeZone: 'UTC' },
    NOW,
  );

/** Seconds that the next try waits after each of so many wrong passwords, each tried when the wait is over. */
function waits(failures: number): number[] {
  const user = account();
  let now = NOW.getTime();
  return Array.from({ length: failures }, () => {
    user.signInFailed(new Date(now));
    const until = user.signInBlockedUntil?.getTime() ?? now;
    const seconds = (until - now) / 1000;
    now = until;
    return seconds;
  });
}

describe('guessing', () => {
  test('four wrong passwords cost nothing; from the fifth on the wait doubles, up to 15 minutes', () => {
    expect(waits(17)).toEqual([0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]);
  });

  test('never for ever, however many', () => {
    expect(waits(5_000).at(-1)).toBe(900);
  });

  test('a wait ends at its end', () => {
    const user = account();
    for (let i = 0; i < 5; i++) user.signInFailed(NOW);
    expect([0, 1999, 2000].map((ms) => user.signInBlocked(new Date(NOW.getTime() + ms)))).toEqual([true, true, false]);
  });

  test('the end of a wait forgives nothing: the next wrong one waits twice as long', () => {
    expect(waits(6).slice(4)).toEqual([2, 4]);
  });

  test('a right password forgets the wrong ones', () => {
    fc.assert(
      fc.property(fc.nat(30), (failures) => {
        const user = account();
        for (let i = 0; i < failures; i++) user.signInFailed(NOW);
        user.signInSucceeded();
        expect(user.signInBlocked(NOW)).toBe(false);
        for (let i = 0; i < 4; i++) user.signInFailed(NOW);
        expect(user.signInBlocked(NOW)).toBe(false);
      }),
    );
  });
});

describe('an account', () => {
  test('begins active, with its address in lower case and its name trimmed', () => {
    expect(account()).toMatchObject({
      email: 'asha@example.test',
      displayName: 'Asha',
      role: 'PATIENT',
      state: 'ACTIVE',
      failedSignIns: 0,
      signInBlockedUntil: null,
      createdAt: NOW,
      updatedAt: NOW,
    });
  });

  test('an address has one form, whatever its case and composition', () => {
    expect(normalEmail('ZOE\u0301@example.test')).toBe(normalEmail('zoé@EXAMPLE.test'));
  });

  test('suspending and reinstating move the time of change only when they change something', () => {
    const user = account();
    const [first, again, last] = [1, 2, 3].map((s) => new Date(NOW.getTime() + s * 1000)) as [Date, Date, Date];
    user.suspend(first);
    user.suspend(again);
    expect(user).toMatchObject({ state: 'SUSPENDED', updatedAt: first });
    user.reinstate(again);
    user.reinstate(last);
    expect(user).toMatchObject({ state: 'ACTIVE', updatedAt: again });
  });
});
