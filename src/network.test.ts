import { expect, test } from '@jest/globals';
import { networkOf } from './network.ts';

test('an IPv4 address counts for itself', () => {
  expect(networkOf('203.0.113.7')).toBe('203.0.113.7');
});

test('an IPv6 address counts with its whole /64, however it is written', () => {
  const same = [
    '2001:db8:0:1::1',
    '2001:DB8:0:1:ffff:ffff:ffff:ffff',
    '2001:0db8:0000:0001:0:0:0:2',
    '2001:db8::1:0:0:0:3',
  ];
  expect(new Set(same.map(networkOf))).toEqual(new Set(['2001:db8:0:1::/64']));
  expect(networkOf('2001:db8:0:2::1')).toBe('2001:db8:0:2::/64');
  expect(networkOf('::1')).toBe('0:0:0:0::/64');
  expect(networkOf('fe80::1%eth0')).toBe('fe80:0:0:0::/64');
});

test('what is no address stays as it is', () => {
  expect(['', 'unknown'].map(networkOf)).toEqual(['', 'unknown']);
});
