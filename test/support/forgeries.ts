import { generateKeyPairSync } from 'node:crypto';
import { base64, type Forgery, type Mint } from './forged-token.ts';
import { forgedClaims } from './forgeries-claims.ts';
import { forgedKeys } from './forgeries-keys.ts';

/** Tokens of every forged kind that can stand in a header. */
export function forgeries(mint: Mint): Forgery[] {
  return [...forgedKeys(mint), ...forgedClaims(mint), ...signatures(mint), ...shapes(mint)];
}

const ORDER = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551';
const ZERO = '0'.repeat(64);

function signatures(mint: Mint): Forgery[] {
  const good = mint.signed();
  const unsigned = good.slice(0, good.lastIndexOf('.'));
  const signature = Buffer.from(good.slice(unsigned.length + 1), 'base64url');
  const [r, s] = [signature.toString('hex', 0, 32), signature.toString('hex', 32)];
  const pairs = {
    'r = 0': ZERO + s,
    's = 0': r + ZERO,
    'r = s = 0': ZERO + ZERO,
    'r = n': ORDER + s,
    's = n': r + ORDER,
  };
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const [otherHead, , otherSignature] = mint.signed().split('.');
  return [
    ...Object.entries({ ...pairs, 's and r exchanged': s + r, 'r beyond all': 'f'.repeat(64) + s }).map(
      ([what, hex]) => ({
        what,
        token: `${unsigned}.${Buffer.from(hex, 'hex').toString('base64url')}`,
      }),
    ),
    { what: 'the signature in DER', token: `${unsigned}.${derOf(signature).toString('base64url')}` },
    { what: 'the signature of another token', token: `${unsigned}.${otherSignature}` },
    { what: 'the payload of another token', token: `${otherHead}.${unsigned.split('.')[1]}.${otherSignature}` },
    { what: 'a key of somebody else', token: mint.signed({}, stranger) },
    { what: 'a cut signature', token: good.slice(0, -1) },
    { what: 'a padded signature', token: `${good}=` },
    { what: 'a signature with more behind it', token: `${good}AA` },
    { what: 'another spelling of the last bits', token: respelled(good) },
    {
      what: 'standard base64',
      token: good
        .replaceAll('-', '+')
        .replaceAll('_', '/')
        .replace(/\.([^.]*)$/, '.+$1'),
    },
  ];
}

/** Spare bits of the last character set: the same bytes for a careless decoder. */
function respelled(token: string): string {
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  return token.slice(0, -1) + digits.charAt(digits.indexOf(token.slice(-1)) + 1);
}

function derOf(signature: Buffer): Buffer {
  const integer = (bytes: Buffer) => {
    const short = (bytes[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes;
    return Buffer.concat([Buffer.from([2, short.length]), short]);
  };
  const both = Buffer.concat([integer(signature.subarray(0, 32)), integer(signature.subarray(32))]);
  return Buffer.concat([Buffer.from([0x30, both.length]), both]);
}

function shapes(mint: Mint): Forgery[] {
  const good = mint.signed();
  const [header, payload, signature] = good.split('.');
  const encrypted = base64(JSON.stringify({ alg: 'dir', enc: 'A256GCM', kid: mint.kid }));
  const texts = {
    'a text': 'hello',
    'three words': 'a.b.c',
    dots: '..',
    'a lot of dots': '.'.repeat(2_000),
    'a name of every object': '__proto__',
    'more behind it': `${good}.x`,
    'a dot behind it': `${good}.`,
    'a dot before it': `.${good}`,
    'two tokens, a comma between': `${good},${good}`,
    'two tokens, a blank between': `${good} ${good}`,
    'a comma and a blank between': `${good}, Bearer ${good}`,
    quoted: `"${good}"`,
    'five parts, as an encrypted one': `${encrypted}..${base64('iv')}.${payload}.${signature}`,
    'the signature first': `${signature}.${header}.${payload}`,
    'JSON serialization': JSON.stringify({ protected: header, payload, signature }),
    'over 2 KiB': mint.signed({ payload: { padding: 'x'.repeat(2_000) } }),
    '8 KiB': mint.signed({ payload: { padding: 'x'.repeat(6_000) } }),
  };
  return Object.entries(texts).map(([what, token]) => ({ what, token }));
}
