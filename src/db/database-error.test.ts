import { describe, expect, test } from '@jest/globals';
import { Fault } from '../fault.ts';
import { isDefinite, isRetryable, isViolation, toFault } from './database-error.ts';

/** An error as the driver throws it. */
const error = (code: string, more: object = {}) => Object.assign(new Error('words of the driver'), { code, ...more });

describe('what an error of the database means to a caller', () => {
  test.each([
    ['23505', { constraint: 'app_user_email' }, 'EMAIL_TAKEN'],
    ['23505', { constraint: 'booking_one_per_slot' }, 'SLOT_TAKEN'],
    ['23P01', { constraint: 'slot_never_overlaps' }, 'SLOT_OVERLAP'],
    ['23P01', { constraint: 'booking_patient_in_one_place' }, 'PATIENT_BUSY'],
    ['55P03', { where: 'while inserting index tuple (0,2) in relation "idempotency"' }, 'IN_PROGRESS'],
    ['55P03', { where: 'while locking tuple (0,2) in relation "slot"' }, 'CONTENTION'],
    ['55P03', {}, 'CONTENTION'],
    ['40P01', {}, 'CONTENTION'],
    ['40001', {}, 'CONTENTION'],
    ['57014', {}, 'OVERLOADED'],
    ['53300', {}, 'OVERLOADED'],
    ['53200', {}, 'OVERLOADED'],
    ['57P01', {}, 'DATABASE_DOWN'],
    ['57P03', {}, 'DATABASE_DOWN'],
    ['08006', {}, 'DATABASE_DOWN'],
    ['25006', {}, 'DATABASE_DOWN'],
    ['ECONNREFUSED', {}, 'DATABASE_DOWN'],
    ['ECONNRESET', {}, 'DATABASE_DOWN'],
    ['ENOTFOUND', {}, 'DATABASE_DOWN'],
  ])('%s %o is %s', (code, more, reason) => {
    const thrown = error(code, more);
    const fault = toFault(thrown);
    expect(fault).toBeInstanceOf(Fault);
    expect(fault).toMatchObject({ reason, cause: thrown });
    expect((fault as Fault).message).not.toContain('driver');
  });

  test.each([
    ['Connection terminated unexpectedly', 'DATABASE_DOWN'],
    ['Client has encountered a connection error and is not queryable', 'DATABASE_DOWN'],
    ['timeout exceeded when trying to connect', 'OVERLOADED'],
  ])('without a code, "%s" is %s', (message, reason) => {
    expect(toFault(new Error(message))).toMatchObject({ reason });
  });

  test.each([
    ['a foreign key', error('23503', { constraint: 'slot_doctor_id_fkey' })],
    ['a check', error('23514', { constraint: 'slot_check' })],
    ['a unique index that stands for no refusal', error('23505', { constraint: 'refresh_token_hash' })],
    ['a name that is also a property of objects', error('23505', { constraint: 'constructor' })],
    ['a wrong statement', error('42601')],
    ['no database error at all', new TypeError('x is undefined')],
    ['nothing', undefined],
  ])('%s is a bug of ours and stays what it is', (_, thrown) => {
    expect(toFault(thrown)).toBe(thrown);
    expect(isViolation(thrown)).toBe(false);
  });
});

test('deadlocks and serialization failures are tried again, a lock that wasn’t had is not', () => {
  expect(['40P01', '40001', '55P03', '57014', '23505'].map((code) => isRetryable(error(code)))).toEqual([
    true,
    true,
    false,
    false,
    false,
  ]);
});

describe('COMMIT', () => {
  test.each([
    ['refused by the server', error('40001'), true],
    ['of a failed transaction', Object.assign(new Error(), { name: 'AbortedTransactionError' }), true],
    ['on a connection that broke', error('ECONNRESET'), false],
    ['without a code', new Error('Connection terminated unexpectedly'), false],
    ['while the server goes down', error('57P01'), false],
    ['on a server that became read-only', error('25006'), false],
  ])('%s: known to have failed is %s', (_, thrown, definite) => {
    expect(isDefinite(thrown)).toBe(definite);
  });
});
