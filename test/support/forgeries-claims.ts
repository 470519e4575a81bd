import { randomUUID } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import type { Forgery, Mint } from './forged-token.ts';

/** Tokens that say what ours never do, or say it in a way that two readers understand differently. */
export function forgedClaims(mint: Mint): Forgery[] {
  return [...headers(mint), ...claims(mint), ...spellings(mint)];
}

function headers(mint: Mint): Forgery[] {
  const types = ['JWT', 'jwt', 'id+jwt', 'logout+jwt', 'rt+jwt', '', undefined, null, 7, ['at+jwt']];
  const members = [
    ...[['exp'], ['b64'], ['x'], []].map((crit) => ({ crit })),
    ...[{ crit: ['b64'], b64: false }, { b64: false }, { b64: true }, { zip: 'DEF' }, { cty: 'JWT' }],
    ...[{ enc: 'A256GCM' }, { epk: {} }, { p2c: 1e9 }],
  ];
  const deflated = mint.unsigned().split('.')[1] ?? '';
  const zipped = deflateRawSync(Buffer.from(deflated, 'base64url')).toString('latin1');
  return [
    ...types.map((typ) => ({ what: `typ ${JSON.stringify(typ)}`, token: mint.signed({ header: { typ } }) })),
    ...members.map((header) => ({ what: `header with ${JSON.stringify(header)}`, token: mint.signed({ header }) })),
    { what: 'a compressed payload', token: mint.signed({ header: { zip: 'DEF' }, payload: zipped }) },
    { what: 'a token in a token', token: mint.signed({ header: { cty: 'JWT' }, payload: mint.signed() }) },
    { what: 'a token in a token, unsaid', token: mint.signed({ payload: mint.signed() }) },
  ];
}

/** Each is signed by the service's own key. */
function claims(mint: Mint): Forgery[] {
  const now = Math.floor(Date.now() / 1000);
  const wrong: Record<string, readonly unknown[]> = {
    iss: ['https://evil.test', 'amrutam.evil.test', 'AMRUTAM', ['amrutam'], 7, { x: 'amrutam' }],
    aud: ['other', [], ['other'], 'amrutam ', 7, { amrutam: true }],
    sub: ['admin', '', 7, [randomUUID()], "' OR 1=1 --", `${randomUUID()}\n`, '٠'.repeat(36)],
    sid: ['x', '', 7, [randomUUID()], '../../session', `{${randomUUID()}}`],
    role: ['SYSTEM', 'patient', '', 7, ['PATIENT', 'ADMINISTRATOR'], 'ROLE_PATIENT', 'PATIENT,ADMINISTRATOR'],
    jti: [7, ['x'], true],
    iat: [now + 60, now + 1e6, now + 0.5, -1, `${now}`, [now], true, now - 3_600, '١٢٣', 1e300],
    exp: [now - 10, 0, -1, now + 601, now + 1e9, 1e300, now + 0.5, `${now + 60}`, [now + 60], true, '١٢٣'],
    nbf: [now + 60, now + 1e9, `${now}`, null, [now]],
  };
  const absent = Object.keys(wrong).filter((name) => name !== 'nbf');
  return [
    ...absent.flatMap((name) =>
      [undefined, null, {}].map((value) => ({
        what: `${name} ${JSON.stringify(value)}`,
        token: mint.signed({ payload: { [name]: value } }),
      })),
    ),
    ...Object.entries(wrong).flatMap(([name, values]) =>
      values.map((value) => ({
        what: `${name} ${JSON.stringify(value)}`,
        token: mint.signed({ payload: { [name]: value } }),
      })),
    ),
  ];
}

/** The right claims under the right signature, spelled in a way that two readers may understand differently. */
function spellings(mint: Mint): Forgery[] {
  const [header = '', payload = ''] = mint
    .unsigned()
    .split('.')
    .map((part) => Buffer.from(part, 'base64url').toString());
  const twice: readonly (readonly [what: string, header: string, payload: string])[] = [
    ['alg twice', header.replace('{', '{"alg":"none",'), payload],
    ['kid twice', header.replace('{', '{"kid":"other",'), payload],
    ['role twice', header, payload.replace('{', '{"role":"ADMINISTRATOR",')],
    ['sub twice', header, payload.replace('{', `{"sub":"${randomUUID()}",`)],
    ['blanks in the payload', header, payload.replaceAll(',', ', ')],
    ['a line end behind the header', `${header}\n`, payload],
    ['an escaped name', header, payload.replace('"sub"', '"\\u0073ub"')],
    ['a number with an exponent', header, payload.replace(/"exp":(\d+)/, '"exp":$1e0')],
    ['a byte order mark', header, `\ufeff${payload}`],
    ['more behind the payload', header, `${payload}{}`],
    ...['null', '[]', '"x"', '7', '{', ''].map((text) => [`a payload of ${text || 'nothing'}`, header, text] as const),
    ...['null', '[]', '"x"', '{'].map((text) => [`a header of ${text}`, text, payload] as const),
  ];
  return twice.map(([what, head, body]) => ({ what, token: mint.signed({ header: head, payload: body }) }));
}
