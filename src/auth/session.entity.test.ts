import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { RoleName } from '../caller.ts';
import { Fault } from '../fault.ts';
import { Session } from './session.entity.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const BEGIN = Date.parse('2030-01-01T00:00:00Z');

const LIVES: readonly [role: RoleName, idle: number, absolute: number][] = [
  ['PATIENT', 7 * DAY, 30 * DAY],
  ['DOCTOR', 12 * HOUR, 7 * DAY],
  ['ADMINISTRATOR', 30 * MINUTE, 8 * HOUR],
];

const begin = (role: RoleName) =>
  Session.begin('user', {
    role,
    device: { userAgent: 'phone', clientAddress: '192.0.2.1' },
    now: new Date(BEGIN),
  });

function standing(session: Session, role: RoleName, now: number): string {
  try {
    session.mustLive(role, new Date(now));
    return 'lives';
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return error.reason;
  }
}

describe.each(LIVES)('a session of a %s', (role, idle, absolute) => {
  test('runs out unused', () => {
    const session = begin(role);
    expect(standing(session, role, BEGIN + idle - 1)).toBe('lives');
    expect(standing(session, role, BEGIN + idle)).toBe('TOKEN_EXPIRED');
  });

  test('lives on when it is refreshed, up to its absolute end and not a moment longer', () => {
    const session = begin(role);
    for (let at = BEGIN; at < BEGIN + absolute; at += idle / 2) session.refresh(role, new Date(at));
    expect(standing(session, role, BEGIN + absolute - 1)).toBe('lives');
    session.refresh(role, new Date(BEGIN + absolute - 1));
    expect(standing(session, role, BEGIN + absolute)).toBe('TOKEN_EXPIRED');
    expect(session.idleExpiresAt).toEqual(new Date(BEGIN + absolute));
  });

  test('whenever it is refreshed, it ends within its idle life and never after its absolute end', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(absolute), { maxLength: 20 }), (times) => {
        const session = begin(role);
        for (const at of times.sort((a, b) => a - b)) {
          session.refresh(role, new Date(BEGIN + at));
          expect(session.refreshedAt.getTime()).toBe(BEGIN + at);
          expect(session.idleExpiresAt.getTime()).toBe(BEGIN + Math.min(at + idle, absolute));
        }
        expect(session.expiresAt.getTime()).toBe(BEGIN + absolute);
      }),
    );
  });

  test('ended, it is over at once; ending it again keeps the first end', () => {
    const session = begin(role);
    session.end(new Date(BEGIN + 1));
    session.end(new Date(BEGIN + 2));
    expect(session.revokedAt).toEqual(new Date(BEGIN + 1));
    expect(standing(session, role, BEGIN + 1)).toBe('SESSION_REVOKED');
    expect(standing(session, role, BEGIN + absolute)).toBe('SESSION_REVOKED');
  });
});

test('of a user who became an administrator after the sign-in, it lives no longer than that of one', () => {
  const session = begin('PATIENT');
  expect(standing(session, 'ADMINISTRATOR', BEGIN + 30 * MINUTE - 1)).toBe('lives');
  expect(standing(session, 'ADMINISTRATOR', BEGIN + 30 * MINUTE)).toBe('TOKEN_EXPIRED');
  for (let at = BEGIN; at < BEGIN + 8 * HOUR; at += 29 * MINUTE) session.refresh('ADMINISTRATOR', new Date(at));
  expect(standing(session, 'ADMINISTRATOR', BEGIN + 8 * HOUR - 1)).toBe('lives');
  expect(standing(session, 'ADMINISTRATOR', BEGIN + 8 * HOUR)).toBe('TOKEN_EXPIRED');
});

test('of an administrator who became a patient, it lives no longer than it was given', () => {
  expect(standing(begin('ADMINISTRATOR'), 'PATIENT', BEGIN + 30 * MINUTE)).toBe('TOKEN_EXPIRED');
});
