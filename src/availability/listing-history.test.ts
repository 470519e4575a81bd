import { expect, test } from '@jest/globals';
import { createListingHistory, KEPT_MS, type MadeOf } from './listing-history.ts';

const snapshot = (xmin: bigint) => ({ xmin, xmax: xmin + 10n, inProgress: new Set([xmin]) });
const ofAsha: MadeOf = { doctors: ['asha'], also: 'nothing' };
const search: MadeOf = { doctors: ['asha'], also: 'profiles' };
const openOnly: MadeOf = { doctors: ['asha'], also: 'everything' };

test('a listing is outdated by changes of those in it, and of whoever might be', () => {
  const history = createListingHistory();
  const since = history.now();
  const unchanged = () => [ofAsha, search, openOnly].map((of) => history.unchangedSince(since, of));
  expect(unchanged()).toEqual([true, true, true]);
  history.hear([{ doctorId: 'bela', profile: false }]);
  expect(unchanged()).toEqual([true, true, false]);
  history.hear([{ doctorId: 'bela', profile: true }]);
  expect(unchanged()).toEqual([true, false, false]);
  history.hear([{ doctorId: 'asha', profile: false }]);
  expect(unchanged()).toEqual([false, false, false]);
  expect(history.unchangedSince(history.now(), openOnly)).toBe(true);
});

test('where something was missed, everything before is outdated', () => {
  const history = createListingHistory();
  const since = history.now();
  history.missed();
  expect(history.unchangedSince(since, ofAsha)).toBe(false);
  expect(history.unchangedSince(history.now(), ofAsha)).toBe(true);
});

test('what another process has read counts once every transaction of its change was over before', () => {
  const history = createListingHistory();
  expect(history.unchangedAfter(snapshot(5n), ofAsha)).toBe(true);
  history.hear([{ doctorId: 'asha', profile: false }]); // here, and not yet told by the database
  expect(history.unchangedAfter(snapshot(1_000n), ofAsha)).toBe(false);
  history.hear([{ doctorId: 'asha', profile: false }], 100n);
  expect([100n, 101n].map((xmin) => history.unchangedAfter(snapshot(xmin), ofAsha))).toEqual([false, true]);
});

test('changes are forgotten when no listing from before is left', () => {
  let now = 0;
  const history = createListingHistory(() => now);
  history.hear([{ doctorId: 'asha', profile: false }], 7n);
  now = KEPT_MS - 1;
  history.hear([{ doctorId: 'bela', profile: false }], 8n);
  expect(history.unchangedAfter(snapshot(7n), ofAsha)).toBe(false);
  now = KEPT_MS + 1;
  history.hear([{ doctorId: 'bela', profile: false }], 9n);
  expect(history.unchangedAfter(snapshot(7n), ofAsha)).toBe(true);
});
