import { createHash } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { hashRefreshToken, newRefreshToken, openChild, sealChild } from './refresh-token.ts';

test('a token is 256 random bits in base64url, and its hash that of the bytes', () => {
  const { token, hash } = newRefreshToken();
  expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(Buffer.from(token, 'base64url')).toHaveLength(32);
  expect(hash).toEqual(createHash('sha256').update(Buffer.from(token, 'base64url')).digest());
  expect(hashRefreshToken(token)).toEqual(hash);
});

test('no two tokens are alike', () => {
  const tokens = Array.from({ length: 1_000 }, () => newRefreshToken().token);
  expect(new Set(tokens).size).toBe(1_000);
});

test('every token that is made is one that is taken', () => {
  for (let i = 0; i < 1_000; i += 1) {
    const { token, hash } = newRefreshToken();
    expect(hashRefreshToken(token)).toEqual(hash);
  }
});

const A = 'A'.repeat(43);

test.each([
  ['nothing', ''],
  ['a short one', A.slice(1)],
  ['a long one', `${A}A`],
  ['padding', `${A}=`],
  ['another spelling of the same bytes', `${A.slice(1)}B`],
  ['plain base64', `+${A.slice(1)}`],
  ['a space', ` ${A.slice(1)}`],
  ['a line end', `${A}\n`],
  ['another script', `Ａ${A.slice(1)}`],
  ['a megabyte', 'A'.repeat(1_000_000)],
])('%s is TOKEN_INVALID, wherever it is given', (_kind, token) => {
  const refusal = expect.objectContaining({ reason: 'TOKEN_INVALID' });
  expect(() => hashRefreshToken(token)).toThrow(refusal);
  expect(() => sealChild(token, A)).toThrow(refusal);
  expect(() => sealChild(A, token)).toThrow(refusal);
  expect(() => openChild(token, sealChild(A, A))).toThrow(refusal);
});

test('the parent opens what was sealed for it, from a Buffer as from any bytes', () => {
  const [parent, child] = [newRefreshToken().token, newRefreshToken().token];
  const sealed = sealChild(parent, child);
  expect(sealed).toHaveLength(60);
  expect(openChild(parent, sealed)).toBe(child);
  expect(openChild(parent, new Uint8Array(sealed))).toBe(child);
});

test('what is stored shows neither token and is never the same twice', () => {
  const [parent, child] = [newRefreshToken().token, newRefreshToken().token];
  const sealed = sealChild(parent, child);
  for (const token of [parent, child]) expect(sealed.includes(Buffer.from(token, 'base64url'))).toBe(false);
  expect(sealChild(parent, child)).not.toEqual(sealed);
});

test('nobody else opens it: neither another token, nor the child, nor who has the stored hash', () => {
  const [parent, child] = [newRefreshToken(), newRefreshToken().token];
  const sealed = sealChild(parent.token, child);
  for (const key of [newRefreshToken().token, child, parent.hash.toString('base64url')]) {
    expect(() => openChild(key, sealed)).toThrow('the sealed refresh token cannot be opened');
  }
});

test('a change of any byte, a cut and an addition are found', () => {
  const [parent, child] = [newRefreshToken().token, newRefreshToken().token];
  const sealed = sealChild(parent, child);
  const changed = [...sealed.keys()].map((at) => sealed.map((byte, i) => (i === at ? byte ^ 1 : byte)));
  const cut = [0, 1, 11, 12, 27, 28, 59].map((length) => sealed.subarray(0, length));
  for (const damaged of [...changed, ...cut, Buffer.concat([sealed, Buffer.alloc(1)])]) {
    expect(() => openChild(parent, damaged)).toThrow('the sealed refresh token cannot be opened');
  }
});
