import { createHmac, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import type { Forgery, Mint } from './forged-token.ts';

/** Tokens that want another key or another algorithm to count. */
export function forgedKeys(mint: Mint): Forgery[] {
  return [...algorithms(mint), ...publicKeyAsSecret(mint), ...broughtKeys(mint), ...keyNames(mint)];
}

function algorithms(mint: Mint): Forgery[] {
  const nones = ['none', 'None', 'NONE', '', null, undefined, ['ES256'], 'es256'].flatMap((alg) => {
    const signed = mint.signed({ header: { alg } });
    const bare = signed.slice(0, signed.lastIndexOf('.'));
    return [
      { what: `alg ${JSON.stringify(alg)}, with a signature`, token: signed },
      { what: `alg ${JSON.stringify(alg)}, the signature empty`, token: `${bare}.` },
      { what: `alg ${JSON.stringify(alg)}, without a signature`, token: bare },
    ];
  });
  const curves = (
    [
      ['ES384', 'P-384', 'sha384'],
      ['ES512', 'P-521', 'sha512'],
      ['ES256K', 'secp256k1', 'sha256'],
      ['ES256', 'secp256k1', 'sha256'],
    ] as const
  ).map(([alg, namedCurve, hash]) => {
    const { privateKey: key } = generateKeyPairSync('ec', { namedCurve });
    const unsigned = mint.unsigned({ header: { alg } });
    const signature = sign(hash, Buffer.from(unsigned), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url');
    return { what: `${alg} on ${namedCurve}`, token: `${unsigned}.${signature}` };
  });
  const { privateKey: ed } = generateKeyPairSync('ed25519');
  const eddsa = mint.unsigned({ header: { alg: 'EdDSA' } });
  const { privateKey: rsa } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const rs256 = mint.unsigned({ header: { alg: 'RS256' } });
  return [
    ...nones,
    ...curves,
    { what: 'EdDSA', token: `${eddsa}.${sign(null, Buffer.from(eddsa), ed).toString('base64url')}` },
    { what: 'RS256', token: `${rs256}.${sign('sha256', Buffer.from(rs256), rsa).toString('base64url')}` },
    ...['HS256', 'ES384', 'RS256', 'EdDSA'].map((alg) => ({
      what: `our signature under the name ${alg}`,
      token: mint.signed({ header: { alg } }),
    })),
  ];
}

function publicKeyAsSecret(mint: Mint): Forgery[] {
  const key = createPublicKey({ key: mint.published, format: 'jwk' });
  const secrets = {
    PEM: key.export({ type: 'spki', format: 'pem' }),
    DER: key.export({ type: 'spki', format: 'der' }),
    JWK: JSON.stringify(mint.published),
    x: Buffer.from(mint.published.x ?? '', 'base64url'),
  };
  return Object.entries(secrets).flatMap(([form, secret]) =>
    (['sha256', 'sha384', 'sha512'] as const).map((hash) => {
      const unsigned = mint.unsigned({ header: { alg: `HS${hash.slice(3)}` } });
      const signature = createHmac(hash, secret).update(unsigned).digest('base64url');
      return { what: `HMAC-${hash}, the public key as ${form} its secret`, token: `${unsigned}.${signature}` };
    }),
  );
}

function broughtKeys(mint: Mint): Forgery[] {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = { ...pair.publicKey.export({ format: 'jwk' }), kid: 'mine', alg: 'ES256', use: 'sig' };
  const addresses = { jku: 'http://127.0.0.1:1/keys.json', x5u: 'http://127.0.0.1:1/certificate' };
  const brought = { jwk, ...addresses, x5c: [Buffer.from('a certificate').toString('base64')], x5t: 'AAAA' };
  return Object.entries(brought).flatMap(([name, value]) => [
    ...[mint.kid, 'mine', undefined].map((kid) => ({
      what: `a key brought as ${name}, named ${kid === mint.kid ? 'as ours' : kid}`,
      token: mint.signed({ header: { [name]: value, kid } }, pair.privateKey),
    })),
    { what: `${name} beside our own key`, token: mint.signed({ header: { [name]: value } }) },
  ]);
}

function keyNames(mint: Mint): Forgery[] {
  const names = [
    ...[undefined, null, '', 'unknown', 7, true, [mint.kid], { kid: mint.kid }, `${mint.kid} `, `${mint.kid}\0`],
    ...['../../../../dev/null', '/dev/null', 'file:///etc/passwd', 'keys.json', "' OR 1=1 --", "x' UNION SELECT 'k"],
    ...['__proto__', 'constructor', 'toString', 'x'.repeat(1_200), '\u{1f511}', '\ud800'],
  ];
  return names.map((kid) => ({
    what: `kid ${JSON.stringify(kid)?.slice(0, 40)}`,
    token: mint.signed({ header: { kid } }),
  }));
}
