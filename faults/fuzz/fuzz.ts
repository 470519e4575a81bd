import { type DescMethodUnary, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import type { RoleName } from '../../src/caller.ts';
import type { Backstage } from '../../test/support/people.ts';
import type { Ports } from '../../test/support/process-client.ts';
import { isSideEffectFree, streams } from '../../test/support/protocols.ts';
import { CALLABLES } from '../../test/support/protocols-broken.ts';
import { anyRequest, type Mind } from './any-request.ts';
import { type Cast, createCast, ROLES } from './cast.ts';
import { wrongWith } from './judge.ts';
import { mutateBytes } from './mutate-bytes.ts';
import { mutateJson } from './mutate-json.ts';
import { type Random, randomFrom } from './random.ts';
import { createGun, type Shot, WIRES } from './shot.ts';

/** Which server, and for how long. */
export interface FuzzOptions {
  readonly ports: Ports;
  readonly backstage: Backstage;
  readonly seed: number;
  readonly seconds: number;
  /** Told once a second. */
  readonly say?: (line: string) => void;
}

/** What became of all shots. */
export interface Fuzzed {
  readonly shots: number;
  /** How many were answered with each code. */
  readonly codes: Readonly<Record<string, number>>;
  /** Methods that nobody got an OK from. */
  readonly neverOk: readonly string[];
  /** What was wrong, each with a line that `node faults/fuzz/replay.ts` takes. */
  readonly findings: readonly string[];
}

/** Those that answer with a stream speak in other frames. */
const UNARY = CALLABLES.filter(({ method }) => !streams(method));
const METHODS = UNARY.map(({ method }) => method);
/** Hashing a password takes a twentieth of a second of a core, an even answer a quarter: these come up less often. */
const COSTLY = /^(SignUp|LogIn|ChangePassword|RequestPasswordReset)$/;
const AT_ONCE = 8;
const MOST_FINDINGS = 20;

/**
 * Calls every method of the contract with requests that are right, nearly right and wrong, over every wire, as nobody and
 * as every role, for so many seconds. Never throws because of an answer: it finds.
 */
export async function fuzz({ ports, backstage, seed, seconds, say = () => {} }: FuzzOptions): Promise<Fuzzed> {
  const cast = await createCast(backstage);
  const gun = createGun(ports);
  const codes: Record<string, number> = {};
  const [ok, findings] = [new Set<string>(), new Map<string, string>()];
  const endsAt = performance.now() + seconds * 1000;
  let shots = 0;
  const worker = async () => {
    while (performance.now() < endsAt && findings.size < MOST_FINDINGS) {
      const random = randomFrom(seed + Math.imul(++shots, 0x9e3779b1));
      const { shot, role } = aim(random, cast);
      const echo = await gun.fire(shot);
      codes[echo.code] = (codes[echo.code] ?? 0) + 1;
      if (echo.code === 'OK') ok.add(shot.method.name);
      cast.pool.harvest(echo.answer);
      const wrong = wrongWith(shot, echo);
      if (wrong) findings.set(`${shot.method.name}: ${wrong}`, `${replayLine(shot)} -> ${echo.said.slice(0, 500)}`);
      if (role) await cast.recast(role, echo);
    }
  };
  const told = setInterval(() => say(`${shots} shots, ${findings.size} findings`), 5_000);
  await Promise.all(Array.from({ length: AT_ONCE }, worker)).finally(() => {
    clearInterval(told);
    gun.close();
  });
  const neverOk = METHODS.map(({ name }) => name).filter((name) => !ok.has(name));
  return { shots, codes, neverOk, findings: [...findings].map(([what, line]) => `${what}\n    ${line}`) };
}

/** Half of the calls are made by somebody who may make them. */
function aim(random: Random, cast: Cast): { readonly shot: Shot; readonly role: RoleName | undefined } {
  let { method, role } = random.pick(UNARY);
  if (COSTLY.test(method.name) && random.chance(0.8)) ({ method, role } = random.pick(UNARY));
  if (random.chance(0.5)) role = random.pick([undefined, ...ROLES, ...ROLES]);
  let wire = random.pick(WIRES);
  // Where only POST is taken a GET is refused before anybody looks at it.
  if (wire.startsWith('GET') && !isSideEffectFree(method) && random.chance(0.9)) wire = random.pick(['gRPC', 'JSON']);
  const isRight = random.chance(0.5);
  const mind = { random, pool: cast.pool, oddness: random.pick(isRight ? [0, 0, 0.05] : [0, 0.1, 0.4]) };
  const headers = { ...(role && cast.headersOf(role)), ...(isRight ? {} : oddHeaders(random)) };
  const aimed = wire.endsWith('JSON') ? json(method, mind, isRight) : binary(method, mind, isRight);
  const lies = !isRight && random.chance(0.1);
  const frame = { flag: random.pick([0, 1, 2, 255]), length: random.pick([0, aimed.length + 1, 2 ** 31, 2 ** 32 - 1]) };
  return { role, shot: { method, wire, headers, body: aimed, ...(lies && { frame }) } };
}

function binary(method: DescMethodUnary, mind: Mind, isRight: boolean): Buffer {
  const bytes = (of: DescMethodUnary) => Buffer.from(toBinary(of.input, anyRequest(of, mind)));
  if (isRight) return bytes(method);
  return mutateBytes(bytes(method), mind.random, bytes(mind.random.pick(METHODS)));
}

function json(method: DescMethodUnary, mind: Mind, isRight: boolean): Buffer {
  let value: JsonValue = {};
  try {
    value = toJson(method.input, anyRequest(method, mind));
  } catch {
    // A time that JSON can't say.
  }
  if (isRight) return Buffer.from(JSON.stringify(value));
  const text = Buffer.from(mutateJson(value, mind.random));
  return mind.random.chance(0.2) ? mutateBytes(text, mind.random, Buffer.from('{"a":[1,{"b":null}]}')) : text;
}

function oddHeaders(random: Random): Record<string, string> {
  if (random.chance(0.8)) return {};
  return random.pick<Record<string, string>>([
    { 'grpc-timeout': random.pick(['0m', '1n', '-1S', '99999999H', '1', 'S', '100000000m', '5S5S']) },
    { 'connect-timeout-ms': random.pick(['0', '-1', '1', '1e3', '99999999999', '0x10', 'NaN', '1.5']) },
    { 'grpc-encoding': random.pick(['gzip', 'deflate', 'br', 'identity', '', 'rot13']) },
    { 'content-encoding': random.pick(['gzip', 'br', 'identity', 'rot13']) },
    { 'connect-protocol-version': random.pick(['1', '2', '', 'x']) },
    { 'x-request-id': random.pick(['', 'a b', 'x'.repeat(100), '../..', '<script>']) },
    { 'idempotency-key': 'x' },
    { authorization: random.pick(['Bearer', 'Bearer a.b.c', 'Basic eDp5', 'Bearer eyJhbGciOiJub25lIn0.e30.', 'x']) },
    { 'x-forwarded-for': random.pick(['1.2.3.4', '::1', 'x', ','.repeat(100)]) },
    { 'user-agent': 'x'.repeat(5_000) },
    { accept: 'text/html', cookie: 'a=b' },
    { 'x-bin': '!!!', 'grpc-status-details-bin': '=' },
  ]);
}

/** A shot as one line of JSON; the token is left out, its role is not needed to aim again. */
function replayLine({ method, wire, headers, body, frame }: Shot): string {
  const path = `${method.parent.typeName}/${method.name}`;
  return JSON.stringify({ path, wire, headers, frame, body: body.toString('base64') });
}
