import { createHash } from 'node:crypto';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Fault } from '../fault.ts';
import { type PasswordOwner, refuseCommonPassword } from './common-password.ts';
import { COMMON_WORDS, LITTLE_WORDS, RUNS } from './common-words.ts';

const owner = { email: 'priya.sharma1990@sunrise-clinic.example', displayName: 'Priyā Chaturvedi' };

test.each([
  ['a word twice', 'passwordpassword', 'changeme changeme', 'pässwörd-pässwörd', 'testtesttesttest'],
  [
    'a word and its padding',
    'Password12345678',
    'Welcome@12345678',
    'administrator2024!',
    'password.password.1',
    'Passw0rd!!!!!!!!',
  ],
  [
    'counting',
    '123456789012345',
    '098765432109876',
    '12345678987654321',
    '246810121416182',
    'abcdefghijklmno',
    'zyxwvutsrqponmlk',
  ],
  ['one key', '111111111111111', 'aaaaaaaaaaaaaaa', 'aaaaaaaaaaaaaab', '---------------'],
  ['a short unit again and again', 'abcabcabcabcabc', '12121212121212121', 'xK9xK9xK9xK9xK9', 'Tarun Tarun Tarun'],
  [
    'a walk along the keyboard',
    'qwertyuiopasdfgh',
    'asdfghjklqwertyuiop',
    '1qaz2wsx3edc4rfv',
    '!QAZ2wsx#EDC4rfv',
    'qazwsxedcrfvtgb',
    'q1w2e3r4t5y6u7i8',
    'mnbvcxzlkjhgfdsa',
  ],
  [
    'a few common words',
    'iloveyouforever1',
    'thisismypassword',
    'sunshinedragon2024',
    'jai shree ram 108',
    'ilovemyhusband123',
    'letmein-please-1',
  ],
  [
    'a famous phrase',
    'correcthorsebatterystaple',
    'Correct Horse Battery Staple!',
    'maytheforcebewithyou',
    'to be or not to be',
  ],
  ['leet and letter case', 'P@ssw0rd!P@ssw0rd!', 'pA55w0rDpA55w0rD', '1L0v3Y0u4ever!!', 'Tru$tN01Tru$tN01'],
  ['backwards', 'drowssapdrowssap', '54321drowssap2024'],
  ['between separators', 'p-a-s-s-w-o-r-d-1-2-3', 'm y p a s s w o r d 1'],
  ['full-width letters', 'ＰＡＳＳＷＯＲＤpassword'],
  [
    'years and dates',
    'Kolkata@01011990',
    'Mumbai@27081987',
    '1987/08/27 mumbai',
    'sunshine.dragon.1962',
    '19901990199019901',
    '2024-12-31 2025',
    'Mumbai@2024@2025',
  ],
  ['our own name', 'Amrutam@20252026', 'amrutam-doctor-2025', '4mrut4m!4mrut4m!', 'AmrutamTelemedicine1'],
])('%s is refused', (_kind, ...passwords) => {
  for (const password of passwords) expect([password, isRefused(password)]).toEqual([password, true]);
});

test.each([
  'priya.sharma1990@sunrise-clinic.example',
  'Priya Chaturvedi',
  'PriyaSharma123456',
  'chaturvedi-1990!!',
  'Pr1y4Ch4turv3d1!',
  'sunrise clinic 12345',
  'idevrutahc-idevrutahc',
  'priyachaturvedisharma',
])('the owner may not use %s, which follows from the name and the address', (password) => {
  expect(isRefused(password)).toBe(true);
});

test('what follows from one name is fine for somebody with another', () => {
  const other = { email: 'tomasz@krawczyk.example', displayName: 'Tomasz Wójcik' };
  expect(isRefused('chaturvedi-sunrise', owner)).toBe(true);
  expect(isRefused('chaturvedi-sunrise', other)).toBe(false);
});

test('names in other scripts count as well', () => {
  const devanagari = { email: 'a@b.example', displayName: 'प्रिया चतुर्वेदी' };
  expect(isRefused('प्रिया चतुर्वेदी', devanagari)).toBe(true);
  expect(isRefused('प्रिया चतुर्वेदी', owner)).toBe(false);
});

test('the demonstration password passes for each demonstration account', () => {
  for (const name of ['admin', 'doctor', 'patient']) {
    expect(isRefused('correct-horse-battery', { email: `${name}@demo.test`, displayName: `Demo ${name}` })).toBe(false);
  }
});

test.each([
  'velvet kettle orbit',
  'purple monkey dishwasher',
  'nimbu paani garmi mein',
  'tangerine-ocelot',
  'gRJ4kd9!lqPz02x',
  '8402759136620475',
  '450816539521980',
  '634455579947050',
  'मेरा नाम बहुत लंबा है',
  'Fünf schöne Möwen',
  'ilovevanillaicecream',
  'my dog ate the sofa',
])('%s passes', (password) => {
  expect(isRefused(password)).toBe(false);
});

test('what a password generator makes passes', () => {
  for (let i = 0; i < 2_000; i += 1) {
    const random = createHash('sha256').update(`${i}`).digest();
    const letters = [...random.subarray(0, 15)].map((byte) => String.fromCharCode(97 + (byte % 26))).join('');
    for (const made of [random.toString('base64url').slice(0, 15), random.toString('base64url'), letters]) {
      expect([made, isRefused(made)]).toEqual([made, false]);
    }
  }
});

test('any listed word in any letter case with a year or a count behind it is refused', () => {
  const padding = fc.constantFrom('1234567890', '12345', '2024', '1999!', '@2025', '!!!!!!!', '000000', '#123456', '');
  fc.assert(
    fc.property(fc.constantFrom(...COMMON_WORDS), padding, fc.boolean(), (word, behind, capital) => {
      const first = capital ? word.charAt(0).toUpperCase() : word.charAt(0);
      return isRefused(`${first}${word.slice(1)}${behind}`) && isRefused(`${word}${word}${behind}`);
    }),
  );
});

test('any two runs in a row are refused, in either direction', () => {
  const run = fc.constantFrom(...RUNS, ...RUNS.map((each) => [...each].reverse().join('')));
  fc.assert(fc.property(run, run, (one, two) => isRefused(`${one}${two}`) && isRefused(`${one.toUpperCase()}${two}`)));
});

test('nothing makes it throw anything but its refusal', () => {
  const anyOwner = fc.record({ email: fc.string(), displayName: fc.string({ unit: 'grapheme' }) });
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 128 }), anyOwner, (password, someone) => {
      isRefused(password, someone);
    }),
  );
});

test('the longest password is judged in a few milliseconds', () => {
  for (const unit of ['a', 'x9Q!', 'abcdefghijklmnopqrstuvwxyz', 'pass1!', 'ÅÄÖ']) {
    const password = unit.repeat(128).slice(0, 128);
    const took = Array.from({ length: 10 }, () => {
      const startedAt = performance.now();
      isRefused(password);
      return performance.now() - startedAt;
    });
    expect(Math.min(...took)).toBeLessThan(30);
  }
});

test('the refusal names the field and the rule, and neither the password nor the list', () => {
  const fault = refusalOf('new_password', 'passwordpassword');
  expect(fault?.reason).toBe('FIELD_INVALID');
  expect(fault?.options.violations).toEqual([
    { field: 'new_password', rule: 'password.common', description: expect.any(String) },
  ]);
  expect(JSON.stringify([fault?.message, fault?.options])).not.toMatch(/passwordpassword|priya/i);
});

test('every listed word is in the form in which passwords are compared, once', () => {
  const all = [...COMMON_WORDS, ...LITTLE_WORDS];
  for (const word of all) expect(word).toMatch(/^[a-z0-9]+$/);
  expect(all.length - new Set(all).size).toBe(0);
});

function refusalOf(field: string, password: string, someone: PasswordOwner = owner): Fault | undefined {
  try {
    refuseCommonPassword(field, password, someone);
    return undefined;
  } catch (error) {
    return error as Fault;
  }
}

function isRefused(password: string, someone?: PasswordOwner): boolean {
  const fault = refusalOf('password', password, someone);
  if (fault && fault.options.violations?.[0]?.rule !== 'password.common') throw fault;
  return fault !== undefined;
}
