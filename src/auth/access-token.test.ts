import {
  createHmac,
  createPrivateKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  randomUUID,
  sign,
} from 'node:crypto';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { RoleName } from '../rpc/call.ts';
import { type AccessTokens, createAccessTokens } from './access-token.ts';
import { createKeyFile, openSigningKeys, type SigningKeys } from './signing-keys.ts';

const issuer = 'https://api.amrutam.test';
const audience = 'amrutam';
const caller = { userId: randomUUID(), sessionId: randomUUID(), role: 'PATIENT' as RoleName };
const START = Math.floor(Date.now() / 1000) * 1000 + 3_600_000;
const RELOAD_MS = 10;

let folder: string;
let file: string;
let keys: SigningKeys;
let ours: KeyObject;
let kid: string;
let clock: number;
let tokens: AccessTokens;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'access-token-'));
  file = join(folder, 'keys.json');
  await createKeyFile(file);
  keys = await openSigningKeys({ file, reloadMs: RELOAD_MS, now: () => new Date(clock), onError: () => {} });
  ({ kid, privateKey: ours } = keys.signer(new Date(START)));
});
beforeEach(() => {
  clock = START;
  tokens = createAccessTokens({ keys, issuer, audience, now: () => new Date(clock) });
});
afterAll(async () => {
  keys.close();
  await rm(folder, { recursive: true });
});

test('an issued token is verified as its caller, the first time and every other', async () => {
  const { token } = await tokens.issue(caller);
  for (let i = 0; i < 3; i += 1) expect(await tokens.verify(token)).toEqual(caller);
});

test.each<RoleName>(['PATIENT', 'DOCTOR', 'ADMINISTRATOR'])('a token can say %s', async (role) => {
  const { token } = await tokens.issue({ ...caller, role });
  expect((await tokens.verify(token)).role).toBe(role);
});

test('a token is an ES256 JWT of type at+jwt with the eight claims, no more, for ten minutes', async () => {
  clock = START + 999;
  const { token, expiresAt } = await tokens.issue(caller);
  const [header, payload] = token
    .split('.')
    .slice(0, 2)
    .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()));
  const iat = START / 1000;
  expect(header).toEqual({ alg: 'ES256', typ: 'at+jwt', kid });
  expect(payload).toEqual({
    iss: issuer,
    aud: audience,
    sub: caller.userId,
    sid: caller.sessionId,
    role: 'PATIENT',
    jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
    iat,
    exp: iat + 600,
  });
  expect(expiresAt).toEqual(new Date((iat + 600) * 1000));
});

test('two tokens of one session differ', async () => {
  expect((await tokens.issue(caller)).token).not.toBe((await tokens.issue(caller)).token);
});

test('a token made by hand as ours are is taken, so that the forgeries below fail for their own fault', async () => {
  expect(await tokens.verify(made({}))).toEqual(caller);
});

test.each(['fresh', 'remembered'])(
  'a %s token is taken for ten minutes and 5 s, then it is TOKEN_EXPIRED',
  async (kind) => {
    const { token } = await tokens.issue(caller);
    if (kind === 'remembered') await tokens.verify(token);
    clock = START + 604_999;
    const late = createAccessTokens({ keys, issuer, audience, now: () => new Date(clock) });
    expect(await (kind === 'remembered' ? tokens : late).verify(token)).toEqual(caller);
    clock = START + 605_000;
    for (let i = 0; i < 3; i += 1)
      await expect(tokens.verify(token)).rejects.toMatchObject({ reason: 'TOKEN_EXPIRED' });
  },
);

test('a good signature under claims that live longer than ten minutes, or end before they begin, is refused', async () => {
  const iat = START / 1000;
  for (const exp of [iat + 601, iat + 31_536_000, Number.MAX_SAFE_INTEGER, 1e300])
    await refused(made({ payload: { exp } }));
  for (const exp of [iat - 6, 0, -1, -1e300])
    await expect(tokens.verify(made({ payload: { exp } }))).rejects.toMatchObject({
      reason: expect.stringMatching('TOKEN_(EXPIRED|INVALID)'),
    });
});

test('an expired token with a bad signature is TOKEN_INVALID: nothing is said of what we did not sign', async () => {
  await refused(made({ payload: { iat: START / 1000 - 7_200, exp: START / 1000 - 6_600 }, key: stranger() }));
});

test('an expired token of ours for somebody else is TOKEN_INVALID', async () => {
  await refused(made({ payload: { aud: 'other', iat: START / 1000 - 7_200, exp: START / 1000 - 6_600 } }));
});

test('a clock that is 5 s behind takes a token, one that is 6 s behind does not', async () => {
  expect(await tokens.verify(made({ payload: { iat: START / 1000 + 5 } }))).toEqual(caller);
  await refused(made({ payload: { iat: START / 1000 + 6, exp: START / 1000 + 606 } }));
  await refused(made({ payload: { nbf: START / 1000 + 6 } }));
});

test.each(['iss', 'aud', 'sub', 'sid', 'role', 'jti', 'iat', 'exp'])('a token without %s is refused', async (claim) => {
  await refused(made({ payload: { [claim]: undefined } }));
  await refused(made({ payload: { [claim]: null } }));
  await refused(made({ payload: { [claim]: {} } }));
});

test.each<[string, Record<string, unknown>]>([
  ['another issuer', { iss: 'https://evil.test' }],
  ['an issuer that begins with ours', { iss: `${issuer}.evil.test` }],
  ['several issuers', { iss: [issuer] }],
  ['another audience', { aud: 'other' }],
  ['no audience in the list', { aud: [] }],
  ['a role that is not ours', { role: 'SYSTEM' }],
  ['a role in small letters', { role: 'administrator' }],
  ['several roles', { role: ['PATIENT', 'ADMINISTRATOR'] }],
  ['a role of every object', { role: 'constructor' }],
  ['a subject that is no UUID', { sub: 'admin' }],
  ['a subject with more behind it', { sub: `${caller.userId}\n` }],
  ['a subject in capitals', { sub: 'A0000000-0000-7000-8000-000000000000' }],
  ['a session that is no UUID', { sid: "' OR 1=1 --" }],
  ['a session that is a list', { sid: [caller.sessionId] }],
  ['a number as its name', { jti: 7 }],
  ['times that are texts', { iat: String(START / 1000), exp: String(START / 1000 + 600) }],
  ['a fraction of a second', { exp: START / 1000 + 0.5 }],
])('our own signature under %s is refused', async (_kind, payload) => {
  await refused(made({ payload }));
});

test.each(['JWT', 'jwt', 'id+jwt', 'at+jwt ', 'logout+jwt', '', undefined, null, 7])(
  'type %j is refused',
  async (typ) => {
    await refused(made({ header: { typ } }));
  },
);

test('alg none is refused in every spelling, with and without a signature', async () => {
  for (const alg of ['none', 'None', 'NONE', 'nOnE', '', undefined, null, ['ES256']]) {
    const token = made({ header: { alg } });
    await refused(token);
    await refused(token.slice(0, token.lastIndexOf('.') + 1));
    await refused(token.slice(0, token.lastIndexOf('.')));
  }
});

test('an HMAC with our public key as the secret is refused, in each form in which the key is published', async () => {
  const jwk = keys.jwks().keys[0] ?? {};
  const publicKey = keys.verificationKey(kid);
  const pem = publicKey?.export({ type: 'spki', format: 'pem' }) ?? '';
  const der = publicKey?.export({ type: 'spki', format: 'der' }) ?? '';
  for (const secret of [pem, der, JSON.stringify(jwk), Buffer.from(jwk.x ?? '', 'base64url'), jwk.x ?? '']) {
    for (const [alg, hash] of [
      ['HS256', 'sha256'],
      ['HS384', 'sha384'],
      ['HS512', 'sha512'],
    ] as const) {
      const unsigned = unsignedToken({ header: { alg } });
      await refused(`${unsigned}.${createHmac(hash, secret).update(unsigned).digest('base64url')}`);
      const posing = unsignedToken({});
      await refused(`${posing}.${createHmac('sha512', secret).update(posing).digest('base64url')}`);
    }
  }
});

test('our key under the name of another algorithm is refused', async () => {
  for (const alg of ['ES256K', 'ES384', 'ES512', 'EdDSA', 'RS256', 'PS256', 'es256', 'ES256 '])
    await refused(made({ header: { alg } }));
});

test('a signature of somebody else under the name of our key is refused', async () => {
  await refused(made({ key: stranger() }));
});

test('a signature in DER, or of zeros, is refused', async () => {
  const unsigned = unsignedToken({});
  await refused(`${unsigned}.${sign('sha256', Buffer.from(unsigned), ours).toString('base64url')}`);
  await refused(`${unsigned}.${'A'.repeat(86)}`);
});

test('a key that the token brings along is never used', async () => {
  const key = stranger();
  const jwk = { ...publicOf(key), kid: 'mine', alg: 'ES256', use: 'sig' };
  const certificate = [Buffer.from('certificate').toString('base64')];
  const brought = { jwk, jku: 'http://127.0.0.1:1/keys.json', x5u: 'http://127.0.0.1:1/cert', x5c: certificate };
  for (const [name, value] of Object.entries(brought)) {
    await refused(made({ header: { [name]: value }, key }));
    await refused(made({ header: { [name]: value, kid: 'mine' }, key }));
    await refused(made({ header: { [name]: value, kid: undefined }, key }));
    // With our own good signature too: we never issue such a header.
    await refused(made({ header: { [name]: value } }));
  }
});

test('a header that asks for more than we understand is refused', async () => {
  await refused(made({ header: { crit: ['exp'] } }));
  await refused(made({ header: { crit: ['b64'], b64: false } }));
  await refused(made({ header: { crit: ['b64'], b64: true } }));
  await refused(made({ header: { crit: [] } }));
  await refused(made({ header: { b64: false } }));
});

test('a header has the three members that we write, and no more', async () => {
  for (const more of [{ zip: 'DEF' }, { cty: 'JWT' }, { x5t: 'x' }, { 'x5t#S256': 'x' }, { apu: '' }, { note: 'x' }])
    await refused(made({ header: more }));
});

test('our own signature under anything spelled in another way is refused', async () => {
  const [header = '', payload = ''] = unsignedToken({})
    .split('.')
    .map((part) => Buffer.from(part, 'base64url').toString());
  const variants = [
    [header.replace('{', '{"alg":"none",'), payload],
    [header, payload.replace('{', '{"role":"ADMINISTRATOR",')],
    [header, payload.replace('{', '{"exp":1,')],
    [header, payload.replace('{', '{ ')],
    [` ${header}`, payload],
    [header, `${payload}\n`],
    [header, payload.replace('"sub"', '"\\u0073ub"')],
    [header, payload.replace(/"iat":(\d+)/, '"iat":$1.0')],
    [header, payload.replace(/"iat":(\d+)/, '"iat":$1e0')],
    [header, `\ufeff${payload}`],
  ];
  for (const [head = '', body = ''] of variants) {
    const unsigned = `${Buffer.from(head).toString('base64url')}.${Buffer.from(body).toString('base64url')}`;
    await refused(`${unsigned}.${signatureOf(unsigned, ours)}`);
  }
});

test('our own signature under base64 with spare bits is refused', async () => {
  for (const room of ['', ' ', '  ']) {
    const [header, payload = ''] = unsignedToken({ payload: { jti: `x${room}` } }).split('.');
    const rest = payload.length % 4;
    if (rest === 0) continue;
    const unsigned = `${header}.${payload.slice(0, -1)}${String.fromCharCode(payload.charCodeAt(payload.length - 1) + 1)}`;
    await refused(`${unsigned}.${signatureOf(unsigned, ours)}`);
  }
});

test('numbers that no ECDSA signature has are refused', async () => {
  const order = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551';
  const beyond = 'ff'.repeat(32);
  const unsigned = unsignedToken({});
  const good = Buffer.from(signatureOf(unsigned, ours), 'base64url').toString('hex');
  const [r, s, zero] = [good.slice(0, 64), good.slice(64), '0'.repeat(64)];
  for (const pair of [zero + s, r + zero, order + s, r + order, beyond + s, r + beyond, order + order, s + r])
    await refused(`${unsigned}.${Buffer.from(pair, 'hex').toString('base64url')}`);
});

test('the name of the key must be a known one', async () => {
  for (const each of [
    undefined,
    null,
    '',
    'other',
    `${kid} `,
    7,
    [kid],
    '__proto__',
    '../../dev/null',
    "' OR 1=1 --",
  ]) {
    await refused(made({ header: { kid: each } }));
  }
});

test('no character of a token can be changed', async () => {
  const { token } = await tokens.issue(caller);
  for (let at = 0; at < token.length; at += 1) {
    const other = token.charAt(at) === 'A' ? 'B' : 'A';
    await refused(token.slice(0, at) + other + token.slice(at + 1));
  }
});

test('a token that was remembered lends nothing to a changed one', async () => {
  const { token } = await tokens.issue(caller);
  await tokens.verify(token);
  const [header, , signature] = token.split('.');
  const [, payload] = made({ payload: { role: 'ADMINISTRATOR' } }).split('.');
  await refused(`${header}.${payload}.${signature}`);
});

test('no forgery is remembered, whatever it shares with a token that was: its signature, its claims, its beginning', async () => {
  const { token } = await tokens.issue(caller);
  const [header, payload = '', signature = ''] = token.split('.');
  const other = stranger();
  const again = [
    `${header}.${payload}.${signatureOf(`${header}.${payload}`, other)}`,
    `${header}.${payload}.${signature.slice(0, 84)}AA`,
    `${unsignedToken({ header: { kid: 'other' } }).split('.')[0]}.${payload}.${signature}`,
    made({
      payload: { jti: JSON.parse(Buffer.from(payload, 'base64url').toString()).jti, role: 'ADMINISTRATOR' },
      key: other,
    }),
  ];
  for (const round of ['before', 'after']) {
    for (const forged of again) for (let i = 0; i < 3; i += 1) await refused(forged);
    expect([round, await tokens.verify(token)]).toEqual([round, caller]);
  }
});

test('ten thousand tokens are remembered, and no more', async () => {
  let asked = 0;
  const verificationKey = (name: string) => {
    asked += 1;
    return keys.verificationKey(name);
  };
  const counted = createAccessTokens({
    keys: { signer: keys.signer, verificationKey },
    issuer,
    audience,
    now: () => new Date(clock),
  });
  const issued = async () => (await tokens.issue(caller)).token;
  const costOf = async (token: string) => {
    asked = 0;
    await counted.verify(token);
    return asked;
  };
  const [oldest = '', second = ''] = await Promise.all([issued(), issued()]);
  const afresh = await costOf(oldest);
  const remembered = await costOf(oldest);
  expect(remembered).toBeLessThan(afresh);
  await counted.verify(second);
  for (let i = 0; i < 9_998; i += 1) await counted.verify(await issued());
  expect(await costOf(oldest)).toBe(remembered);
  await counted.verify(await issued());
  expect(await costOf(second)).toBeGreaterThan(remembered);
});

test('a token has one spelling only', async () => {
  const { token } = await tokens.issue(caller);
  const last = token.slice(-1);
  const sameBits = String.fromCharCode(last.charCodeAt(0) + 1);
  const variants = [`${token}=`, `${token}==`, ` ${token}`, `${token} `, `${token}\n`, token.slice(0, -1) + sameBits];
  for (const variant of [...variants, `${token}.`, `.${token}`, `Bearer ${token}`, `${token}.x`])
    await refused(variant);
});

test.each<[string, string]>([
  ['nothing', ''],
  ['dots', '..'],
  ['many dots', '.'.repeat(2_000)],
  ['text', 'hello'],
  ['three words', 'a.b.c'],
  ['binary', '\0\u{1f600}\ud800'],
  ['JSON', '{"alg":"none"}'],
  ['a name of every object', '__proto__'],
  ['a header that is no JSON', `${encoded('x')}.${encoded('{}')}.${'A'.repeat(86)}`],
  ['a header that is null', `${encoded('null')}.${encoded('{}')}.${'A'.repeat(86)}`],
  ['five parts, as of an encrypted one', 'a.b.c.d.e'],
])('%s is refused', async (_kind, token) => {
  await refused(token);
});

test('a payload of ours that is no set of claims is refused', async () => {
  for (const payload of ['null', '[]', '"x"', '7', '{', '', '\xff']) {
    const unsigned = `${encoded(JSON.stringify({ alg: 'ES256', typ: 'at+jwt', kid }))}.${encoded(payload)}`;
    await refused(`${unsigned}.${signatureOf(unsigned, ours)}`);
  }
});

test('a token over 2 KiB is refused even with our signature', async () => {
  const padded = (length: number) => made({ payload: { padding: 'x'.repeat(length) } });
  const room = Math.floor(((2_048 - padded(0).length) * 3) / 4) - 2;
  expect(await tokens.verify(padded(room))).toEqual(caller);
  expect(padded(room + 8).length).toBeGreaterThan(2_048);
  await refused(padded(room + 8));
});

test('nobody changes the caller that others are answered with', async () => {
  const { token } = await tokens.issue(caller);
  const first = await tokens.verify(token);
  expect(() => Object.assign(first, { role: 'ADMINISTRATOR' })).toThrow(TypeError);
  expect(await tokens.verify(token)).toEqual(caller);
});

test('tokens of another deployment are refused, though it has our keys', async () => {
  const now = () => new Date(clock);
  const elsewhere = createAccessTokens({ keys, issuer: 'https://staging.amrutam.test', audience, now });
  await refused((await elsewhere.issue(caller)).token);
});

test('a refusal shows nothing of the token', async () => {
  const token = made({ payload: { aud: 'other' } });
  const fault = await (async () => tokens.verify(token))().catch((error: unknown) => error as Error);
  expect(fault).toMatchObject({
    message: 'the access token is not valid',
    options: expect.not.objectContaining({ metadata: expect.anything() }),
  });
});

test('a token that was used lately costs a tenth of a new one at most', async () => {
  const made = await Promise.all(Array.from({ length: 200 }, () => tokens.issue(caller)));
  const round = async () => {
    const startedAt = performance.now();
    for (const { token } of made) await tokens.verify(token);
    return performance.now() - startedAt;
  };
  const afresh = await round();
  const again = Math.min(await round(), await round(), await round());
  expect(again).toBeLessThan(afresh / 10);
});

test('after a rotation old tokens hold until their time is over, and those of a removed key no longer than it, remembered or not', async () => {
  const { token } = await tokens.issue(caller);
  const longer = made({ payload: { iat: START / 1000 + 605, exp: START / 1000 + 1_205 } });
  const next: JsonWebKey = {
    ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }),
    kid: 'next',
  };
  const old = await readFile(file, 'utf8');
  await replaceWith(JSON.stringify({ keys: [next] }));
  while (!keys.verificationKey('next')) await new Promise((resolve) => setTimeout(resolve, RELOAD_MS));
  clock = START + 600_000;
  expect(await tokens.verify(token)).toEqual(caller);
  expect(await tokens.verify(longer)).toEqual(caller);
  expect((await tokens.issue(caller)).token).not.toContain(token.split('.')[0]);
  clock = START + 605_000 + RELOAD_MS;
  await refused(longer);
  await replaceWith(old);
  while (!keys.verificationKey(kid)) await new Promise((resolve) => setTimeout(resolve, RELOAD_MS));
});

interface Forgery {
  /** Replace members of what we would write; undefined leaves one out. */
  readonly header?: Record<string, unknown>;
  readonly payload?: Record<string, unknown>;
  readonly key?: KeyObject;
}

/** A compact JWS written without any library. */
function made(forgery: Forgery): string {
  const unsigned = unsignedToken(forgery);
  return `${unsigned}.${signatureOf(unsigned, forgery.key ?? ours)}`;
}

function unsignedToken({ header, payload }: Forgery): string {
  const { userId: sub, sessionId: sid, role } = caller;
  const iat = START / 1000;
  const claims = { iss: issuer, aud: audience, sub, sid, role, jti: randomUUID(), iat, exp: iat + 600, ...payload };
  return `${encoded(JSON.stringify({ alg: 'ES256', typ: 'at+jwt', kid, ...header }))}.${encoded(JSON.stringify(claims))}`;
}

function signatureOf(unsigned: string, key: KeyObject): string {
  return sign('sha256', Buffer.from(unsigned), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url');
}

function encoded(text: string): string {
  return Buffer.from(text, 'latin1').toString('base64url');
}

function stranger(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

function publicOf(key: KeyObject): JsonWebKey {
  const { d: _secret, ...jwk } = createPrivateKey(key.export({ type: 'pkcs8', format: 'pem' })).export({
    format: 'jwk',
  });
  return jwk;
}

async function replaceWith(text: string): Promise<void> {
  await writeFile(`${file}.new`, text, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

async function refused(token: string): Promise<void> {
  await expect(tokens.verify(token)).rejects.toMatchObject({ name: 'Fault', reason: 'TOKEN_INVALID' });
}
