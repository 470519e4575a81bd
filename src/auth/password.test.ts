import { expect, test } from '@jest/globals';
import { Fault } from '../fault.ts';
import { createPasswordHasher } from './password.ts';

const hasher = createPasswordHasher();

test('a hash is a PHC string with the parameters of the design, and salted anew each time', async () => {
  const [one, two] = await Promise.all([hasher.hash('correct-horse-battery'), hasher.hash('correct-horse-battery')]);
  expect(one).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
  expect(two).not.toBe(one);
});

test('the right password agrees, any other does not', async () => {
  const stored = await hasher.hash('correct-horse-battery');
  expect(await hasher.verify(stored, 'correct-horse-battery')).toEqual({ ok: true, stale: false });
  for (const wrong of ['correct-horse-batterx', 'Correct-horse-battery', 'correct-horse-battery ', '']) {
    expect(await hasher.verify(stored, wrong)).toEqual({ ok: false, stale: false });
  }
});

test('a string made elsewhere with other parameters still agrees, and is stale', async () => {
  // A vector of the reference implementation's own test suite.
  const stored = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc';
  expect(await hasher.verify(stored, 'password')).toEqual({ ok: true, stale: true });
  expect(await hasher.verify(stored, 'passwore')).toEqual({ ok: false, stale: true });
});

test.each(['$m=19455,t=2,p=1$', '$m=19456,t=3,p=1$', '$m=19456,t=2,p=2$'])('%s is stale', async (parameters) => {
  const stored = `$argon2id$v=19${parameters}${'A'.repeat(22)}$${'A'.repeat(43)}`;
  expect(await hasher.verify(stored, 'whatever it may be')).toEqual({ ok: false, stale: true });
});

test('a short salt or a short tag is stale', async () => {
  for (const [salt, tag] of [[11, 43] as const, [22, 22] as const]) {
    const stored = `$argon2id$v=19$m=19456,t=2,p=1$${'A'.repeat(salt)}$${'A'.repeat(tag)}`;
    expect((await hasher.verify(stored, 'whatever it may be')).stale).toBe(true);
  }
});

test('the same characters typed on another keyboard are the same password', async () => {
  const stored = await hasher.hash('pässword né\u00a0à Poona');
  expect(stored).not.toContain('ä');
  expect((await hasher.verify(stored, 'pa\u0308ssword ne\u0301 a\u0300 Poona')).ok).toBe(true);
});

test('characters that only look alike stay different', async () => {
  const stored = await hasher.hash('fifteen ﬁ letters ²');
  expect((await hasher.verify(stored, 'fifteen fi letters 2')).ok).toBe(false);
});

test.each([
  '',
  'plain text',
  '$argon2i$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA',
  '$argon2id$v=16$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA',
  '$argon2id$v=19$m=9999999999,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA',
  '$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$',
  '$argon2id$v=19$m=19456,t=0,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA',
])('a stored value that is no argon2id string is an error that does not quote it: %j', async (stored) => {
  await expect(hasher.verify(stored, 'x')).rejects.toThrow(/^the stored password hash is not an argon2id string$/);
});

test('an unknown e-mail costs the time of a wrong password', async () => {
  const stored = await hasher.hash('correct-horse-battery');
  const known: number[] = [];
  const unknown: number[] = [];
  for (let i = 0; i < 9; i += 1) {
    known.push(await millisecondsOf(() => hasher.verify(stored, 'wrong-horse-battery')));
    unknown.push(await millisecondsOf(() => hasher.verifyNothing('wrong-horse-battery')));
  }
  const ratio = Math.min(...unknown) / Math.min(...known);
  expect(ratio).toBeGreaterThan(0.6);
  expect(ratio).toBeLessThan(1.7);
});

test('nothing agrees with nothing', async () => {
  expect(await hasher.verifyNothing('correct-horse-battery')).toEqual({ ok: false, stale: false });
});

test('the event loop turns while passwords are hashed', async () => {
  const hashing = Promise.all(Array.from({ length: 4 }, () => hasher.hash('correct-horse-battery')));
  let turns = 0;
  let done = false;
  hashing.then(() => {
    done = true;
  });
  while (!done) {
    await new Promise(setImmediate);
    turns += 1;
  }
  expect(turns).toBeGreaterThan(20);
});

test('beyond the queue a caller is refused at once and told when to come back', async () => {
  const small = createPasswordHasher({ concurrency: 1, queueLimit: 2 });
  const taken = [small.hash('a'), small.hash('b'), small.hash('c')];
  let answered = 0;
  for (const each of taken) each.then(() => (answered += 1));
  const refusal = await small.hash('d').catch((error: unknown) => error);
  expect(answered).toBe(0);
  expect(refusal).toBeInstanceOf(Fault);
  expect((refusal as Fault).reason).toBe('OVERLOADED');
  expect((refusal as Fault).options.retryAfterMs).toBeGreaterThan(10);
  await Promise.all(taken);
  await expect(small.hash('e')).resolves.toContain('$argon2id$');
});

test('as many as given are hashed at once and not one more', async () => {
  const pair = createPasswordHasher({ concurrency: 2, queueLimit: 0 });
  const running = Promise.all([pair.hash('a'), pair.hash('b')]);
  await expect(pair.hash('c')).rejects.toMatchObject({ reason: 'OVERLOADED' });
  await expect(running).resolves.toHaveLength(2);
});

test('a place that was handed over still counts', async () => {
  const single = createPasswordHasher({ concurrency: 1, queueLimit: 1 });
  const [first, second] = [single.hash('a'), single.hash('b')];
  await first;
  const third = single.hash('c');
  await expect(single.hash('d')).rejects.toMatchObject({ reason: 'OVERLOADED' });
  await Promise.all([second, third]);
});

test('who waits is served in the order of coming', async () => {
  const single = createPasswordHasher({ concurrency: 1, queueLimit: 10 });
  const order: number[] = [];
  await Promise.all([0, 1, 2, 3, 4].map((i) => single.hash('x').then(() => order.push(i))));
  expect(order).toEqual([0, 1, 2, 3, 4]);
});

test('who has been here before is served before strangers, and let in where they are too many', async () => {
  const single = createPasswordHasher({ concurrency: 1, queueLimit: 2 });
  const stored = await single.hash('x');
  const order: string[] = [];
  const strangers = [0, 1, 2].map((i) => single.hash('x').then(() => order.push(`stranger ${i}`)));
  await expect(single.verify(stored, 'x')).rejects.toMatchObject({ reason: 'OVERLOADED' });
  const known = single.verify(stored, 'x', { line: 'first' }).then(() => order.push('known'));
  await Promise.all([...strangers, known]);
  expect(order).toEqual(['stranger 0', 'known', 'stranger 1', 'stranger 2']);
});

test('strangers have every fourth turn, however many wait who have been here before', async () => {
  const single = createPasswordHasher({ concurrency: 1, queueLimit: 20 });
  const stored = await single.hash('x');
  const order: string[] = [];
  const known = Array.from({ length: 8 }, () =>
    single.verify(stored, 'x', { line: 'first' }).then(() => order.push('known')),
  );
  const stranger = single.hash('x').then(() => order.push('stranger'));
  await Promise.all([...known, stranger]);
  expect(order.indexOf('stranger')).toBeLessThan(5);
});

test('a caller who goes away leaves the queue, and the place is free again', async () => {
  const small = createPasswordHasher({ concurrency: 1, queueLimit: 1 });
  const running = small.hash('a');
  const leaving = new AbortController();
  const waiting = small.hash('b', leaving.signal);
  await expect(small.hash('c')).rejects.toMatchObject({ reason: 'OVERLOADED' });
  leaving.abort(new Error('gone'));
  await expect(waiting).rejects.toThrow('gone');
  await expect(small.hash('d')).resolves.toContain('$argon2id$');
  await running;
});

test('a caller who has gone already costs nothing', async () => {
  const small = createPasswordHasher({ concurrency: 1, queueLimit: 0 });
  await expect(small.verifyNothing('a', AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  const running = small.hash('b');
  await expect(small.hash('c', AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  await expect(running).resolves.toContain('$argon2id$');
});

test('a failure gives its place back', async () => {
  const small = createPasswordHasher({ concurrency: 1, queueLimit: 0 });
  const tooManyLanes = `$argon2id$v=19$m=8,t=1,p=99$${'A'.repeat(22)}$${'A'.repeat(43)}`;
  await expect(small.verify(tooManyLanes, 'x')).rejects.toThrow();
  await expect(small.hash('x')).resolves.toContain('$argon2id$');
});

async function millisecondsOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}
