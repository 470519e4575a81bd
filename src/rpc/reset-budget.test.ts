import http2, { type ServerHttp2Session } from 'node:http2';
import { expect, test } from '@jest/globals';
import { type Visitor, visitors } from './client-at.ts';
import { LIMITS } from './limits.ts';
import { resetBudget } from './reset-budget.ts';

/** What a session is for the budget, with what was done to it. */
function visitorAt(remoteAddress: string) {
  const told: number[] = [];
  const session = {
    destroyed: false,
    socket: { remoteAddress },
    goaway: (code: number) => told.push(code),
    destroy: () => {
      session.destroyed = true;
    },
  };
  const visitor: Visitor = visitors((a) => a === '10.0.0.1')(session as unknown as ServerHttp2Session);
  return { visitor, told, session };
}

function budget() {
  const clock = { ms: 0 };
  const door = { limits: { ...LIMITS, resetBurst: 10, resetRate: 5 }, turnAway() {} };
  return { clock, ...resetBudget(door, () => clock.ms) };
}

test('a client may break off so many at once and so many a second, over all its connections', () => {
  const { clock, breakOff } = budget();
  const [one, other] = [visitorAt('203.0.113.9'), visitorAt('::ffff:203.0.113.9')];
  for (let i = 0; i < 5; i++) breakOff(one.visitor);
  for (let i = 0; i < 5; i++) breakOff(other.visitor);
  clock.ms = 1_000;
  for (let i = 0; i < 5; i++) breakOff(one.visitor);
  expect([one.told, other.told]).toEqual([[], []]);
  breakOff(one.visitor);
  expect([one.told, one.session.destroyed]).toEqual([[http2.constants.NGHTTP2_ENHANCE_YOUR_CALM], true]);
});

test("a proxy's clients are many, and another client has a budget of its own", () => {
  const { breakOff } = budget();
  const [proxy, flood, honest] = [visitorAt('10.0.0.1'), visitorAt('203.0.113.9'), visitorAt('203.0.113.10')];
  for (let i = 0; i < 100; i++) for (const { visitor } of [proxy, flood]) breakOff(visitor);
  breakOff(honest.visitor);
  expect([proxy, flood, honest].map(({ session }) => session.destroyed)).toEqual([false, true, false]);
});

test('who hangs up has broken off all calls, and may begin none until that is paid', () => {
  const { clock, begin, breakOff } = budget();
  const [gone, next, later] = [visitorAt('203.0.113.9'), visitorAt('203.0.113.9'), visitorAt('203.0.113.9')];
  expect(begin(gone.visitor)).toBe(true);
  gone.session.destroyed = true;
  for (let i = 0; i < 20; i++) breakOff(gone.visitor);
  expect([begin(next.visitor), next.session.destroyed]).toEqual([false, true]);
  clock.ms = 2_100;
  expect([begin(later.visitor), later.session.destroyed]).toEqual([true, false]);
});
