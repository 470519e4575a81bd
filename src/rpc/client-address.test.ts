import { expect, test } from '@jest/globals';
import { clientAddress } from './client-address.ts';

const addressOf = clientAddress(['10.0.0.0/8', '192.0.2.1', 'fd00::/8']);

test.each<[string, string | null, string]>([
  ['203.0.113.9', null, '203.0.113.9'],
  ['203.0.113.9:4711', null, '203.0.113.9'],
  ['::ffff:203.0.113.9', null, '203.0.113.9'],
  ['[2001:db8::1]:4711', null, '2001:db8::1'],
  ['fe80::1%eth0', null, 'fe80::1'],
  ['unknown', null, ''],
  ['203.0.113.9', '1.2.3.4', '203.0.113.9'],
  ['10.1.2.3', '203.0.113.9', '203.0.113.9'],
  ['::ffff:10.1.2.3', '203.0.113.9', '203.0.113.9'],
  ['10.1.2.3', '6.6.6.6, 203.0.113.9', '203.0.113.9'],
  ['10.1.2.3', '203.0.113.9, 10.9.9.9', '203.0.113.9'],
  ['10.1.2.3', '203.0.113.9:1234,192.0.2.1', '203.0.113.9'],
  ['fd00::1', '"rubbish", 10.9.9.9', '10.9.9.9'],
  ['10.1.2.3', 'rubbish', '10.1.2.3'],
  ['10.1.2.3', '', '10.1.2.3'],
  ['10.1.2.3', '10.0.0.1', '10.0.0.1'],
  ['fd00::1', '2001:db8::7', '2001:db8::7'],
])('%s forwarding for %j is %s', (peer, forwarded, expected) => {
  expect(addressOf(peer, forwarded)).toBe(expected);
});

test('nobody is trusted by default', () => {
  expect(clientAddress([])('127.0.0.1', '1.2.3.4')).toBe('127.0.0.1');
});

test.each(['rubbish', '10.0.0.0/99', '10.0.0.0/x', '10.0.0.0/8/8', ''])('a list with %j is refused', (range) => {
  expect(() => clientAddress([range])).toThrow();
});
