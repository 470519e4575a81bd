import type { DescMethodUnary } from '@bufbuild/protobuf';
import { createValidator } from '@bufbuild/protovalidate';
import { expect, test } from '@jest/globals';
import { anyRequest } from '../../faults/fuzz/any-request.ts';
import { createPool } from '../../faults/fuzz/pool.ts';
import { randomFrom } from '../../faults/fuzz/random.ts';
import { requestOf } from '../../test/support/protocols-fields.ts';
import { SERVICES } from '../server.ts';
import { survey } from './plain-data.ts';
import { plainlyValid } from './plainly-valid.ts';

const methods = SERVICES.flatMap((service) => service.methods) as DescMethodUnary[];
const seed = Math.floor(Math.random() * 2 ** 31);
const validator = createValidator();

test(`what is plainly valid is valid for protovalidate too (seed ${seed})`, () => {
  const random = randomFrom(seed);
  const pool = createPool();
  let plain = 0;
  for (let i = 0; i < 20_000; i++) {
    const method = random.pick(methods);
    const message = anyRequest(method, { random, pool, oddness: random.pick([0, 0.1, 0.5]) });
    const { clean, longest } = survey(message);
    if (!clean || longest > 512 || !plainlyValid(method.input, message)) continue;
    plain += 1;
    expect([method.name, message, validator.validate(method.input, message).kind]).toEqual([
      method.name,
      message,
      'valid',
    ]);
  }
  expect(plain).toBeGreaterThan(1_000);
});

test('an ordinary request of nearly every method is plainly valid', () => {
  const asked = methods.filter((method) => !plainlyValid(method.input, requestOf(method)));
  // E-mail addresses are judged by protovalidate alone.
  expect(asked.map(({ name }) => name)).toEqual(['SignUp']);
});
