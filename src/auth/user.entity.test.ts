import { describe, expect, test } from '@jest/globals';
import { normalEmail, User } from './user.entity.ts';

const NOW = new Date('2030-01-01T00:00:00Z');

const account = () =>
  User.signUp(
    { email: 'Asha@Example.TEST', passwordHash: 'hash', displayName: '  Asha ', role: 'PATIENT', timeZone: 'UTC' },
    NOW,
  );

describe('guessing', () => {
  test('fifty wrong passwords since the last right one are an attack', () => {
    const user = account();
    for (let i = 0; i < 49; i++) user.signInFailed();
    expect(user.underAttack).toBe(false);
    user.signInFailed();
    expect(user.underAttack).toBe(true);
    user.signInSucceeded();
    expect(user.underAttack).toBe(false);
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
