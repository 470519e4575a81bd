import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SignInPlace } from './sign-in-place.entity.ts';

const NOW = new Date('2030-01-01T00:00:00Z');
const CALM = { underAttack: false };
const ATTACK = { underAttack: true };

const somewhere = () => SignInPlace.first('0199c1a2-0000-7000-8000-000000000001', '203.0.113.7', NOW);
const later = (ms: number) => new Date(NOW.getTime() + ms);

/** Seconds that the next try waits after each of so many wrong passwords, each tried when the wait is over. */
function waits(failures: number, { place = somewhere(), user = CALM } = {}): number[] {
  let now = NOW.getTime();
  return Array.from({ length: failures }, () => {
    place.failed(new Date(now), user);
    const until = place.blockedUntil?.getTime() ?? now;
    const seconds = (until - now) / 1000;
    now = until;
    return seconds;
  });
}

test('four wrong passwords cost nothing; from the fifth on the wait doubles, up to 15 minutes', () => {
  expect(waits(17)).toEqual([0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]);
});

test('never for ever, however many', () => {
  expect(waits(5_000).at(-1)).toBe(900);
});

test('a wait ends at its end, which forgives nothing: the next wrong one waits twice as long', () => {
  const place = somewhere();
  for (let i = 0; i < 5; i++) place.failed(NOW, CALM);
  expect([0, 1999, 2000].map((ms) => place.blocked(later(ms)))).toEqual([true, true, false]);
  place.failed(later(2000), CALM);
  expect([5999, 6000].map((ms) => place.blocked(later(ms)))).toEqual([true, false]);
});

test('under attack the first wrong one from a strange place makes the next wait', () => {
  expect(waits(3, { user: ATTACK })).toEqual([2, 4, 8]);
});

test('under attack a place that the owner signed in from keeps its free tries', () => {
  const place = somewhere();
  place.succeeded(NOW);
  expect(waits(6, { place, user: ATTACK })).toEqual([0, 0, 0, 0, 2, 4]);
});

test('a right password forgets the wrong ones', () => {
  fc.assert(
    fc.property(fc.nat(30), (failures) => {
      const place = somewhere();
      for (let i = 0; i < failures; i++) place.failed(NOW, CALM);
      place.succeeded(NOW);
      expect(place.blocked(NOW)).toBe(false);
      for (let i = 0; i < 4; i++) place.failed(NOW, CALM);
      expect(place.blocked(NOW)).toBe(false);
    }),
  );
});
