import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { canonical, leafOf, type SealedRow, type Value } from './sealed-row.ts';

const text = fc.string({ unit: 'binary', maxLength: 12 });
const value: fc.Arbitrary<Value> = fc.oneof(
  fc.constant(null),
  text,
  fc.array(fc.oneof(fc.constant(null), text), { maxLength: 4 }),
);

/** Reads what `canonical` has written. */
function parsed(bytes: Buffer): Value[] {
  let at = 0;
  const count = () => {
    at += 4;
    return bytes.readUInt32BE(at - 4);
  };
  const read = (): Value => {
    const kind = bytes.readUInt8(at++);
    if (kind === 0) return null;
    const length = count();
    if (kind === 2) return Array.from({ length }, () => read() as string | null);
    at += length;
    return bytes.toString('utf8', at - length, at);
  };
  const values: Value[] = [];
  while (at < bytes.length) values.push(read());
  return values;
}

describe('the canonical form', () => {
  test('can be read back, whatever is in it: so different values never give the same bytes', () => {
    fc.assert(
      fc.property(fc.array(value, { maxLength: 8 }), (values) => {
        expect(parsed(canonical(values))).toEqual(values);
      }),
    );
  });

  test('tells apart what looks alike', () => {
    const alike: Value[][] = [
      ['', 'ab'],
      ['a', 'b'],
      ['ab', ''],
      ['ab'],
      [null, 'ab'],
      [[], 'ab'],
      [['ab']],
      [['a', 'b']],
      [[null, 'ab']],
      ['a\0b'],
      ['\0'],
      [null],
      [],
    ];
    expect(new Set(alike.map((values) => canonical(values).toString('hex'))).size).toBe(alike.length);
  });

  test('is exactly this: a new version must not change what old seals vouch for', () => {
    expect(canonical(['é', null, ['a', null]]).toString('hex')).toBe('0100000002c3a900020000000201000000016100');
    const row: SealedRow = {
      id: '01900000-0000-7000-8000-000000000001',
      recorded_at: '1764500000000001',
      actor_id: null,
      actor_role: 'PATIENT',
      session_id: null,
      action: 'BookSlot',
      outcome: 'DONE',
      reason: '',
      entity_type: 'booking',
      entity_id: '01900000-0000-7000-8000-000000000002',
      patient_id: null,
      request_id: null,
      trace_id: 'trace',
      client_address: '127.0.0.1',
      instance: 'one',
      changed_fields: ['booking.*', 'slot.state'],
      xid: '4294967296000',
    };
    expect(leafOf(row).toString('hex')).toBe('0421844c519565b9177f5a576f87ce54774f8f981c22244bbae66a976c205591');
    const backwards = Object.fromEntries(Object.entries(row).reverse()) as SealedRow;
    expect(leafOf(backwards)).toEqual(leafOf(row));
  });
});
