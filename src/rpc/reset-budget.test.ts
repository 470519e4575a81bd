import http2, { type ServerHttp2Session } from 'node:http2';
import { expect, test } from '@jest/globals';
import { LIMITS } from './limits.ts';
import { resetBudget } from './reset-budget.ts';

/** What a session is for the budget, with what was done to it. */
function sessionOf(remoteAddress: string) {
  const told: number[] = [];
  const session = {
    destroyed: false,
    socket: { remoteAddress },
    goaway: (code: number) => told.push(code),
    destroy: () => {
      session.destroyed = true;
    },
  };
  return { session: session as unknown as ServerHttp2Session, told };
}

function budget() {
  const clock = { ms: 0 };
  const door = {
    limits: { ...LIMITS, resetBurst: 10, resetRate: 5 },
    isProxy: (a: string) => a === '10.0.0.1',
    turnAway() {},
  };
  return { clock, breakOff: resetBudget(door, () => clock.ms) };
}

test('a client may break off so many at once and so many a second, over all its connections', () => {
  const { clock, breakOff } = budget();
  const [one, other] = [sessionOf('203.0.113.9'), sessionOf('::ffff:203.0.113.9')];
  for (let i = 0; i < 5; i++) breakOff(one.session);
  for (let i = 0; i < 5; i++) breakOff(other.session);
  clock.ms = 1_000;
  for (let i = 0; i < 5; i++) breakOff(one.session);
  expect([one.told, other.told]).toEqual([[], []]);
  breakOff(one.session);
  expect([one.told, one.session.destroyed]).toEqual([[http2.constants.NGHTTP2_ENHANCE_YOUR_CALM], true]);
});

test("a proxy's clients are many, and another client has a budget of its own", () => {
  const { breakOff } = budget();
  const [proxy, flood, honest] = [sessionOf('10.0.0.1'), sessionOf('203.0.113.9'), sessionOf('203.0.113.10')];
  for (let i = 0; i < 100; i++) for (const { session } of [proxy, flood]) breakOff(session);
  breakOff(honest.session);
  expect([proxy, flood, honest].map(({ session }) => session.destroyed)).toEqual([false, true, false]);
});
