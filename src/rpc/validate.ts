import type { DescMessage, Message } from '@bufbuild/protobuf';
import { pathToString } from '@bufbuild/protobuf/reflect';
import { createValidator, type Validator } from '@bufbuild/protovalidate';
import type { Interceptor } from '@connectrpc/connect';
import { Fault, type Violation } from '../fault.ts';
import { brokenData, survey } from './plain-data.ts';
import { plainlyValid } from './plainly-valid.ts';

/**
 * Up to this many UTF-16 units a pattern may run in V8, whose worst case is quadratic: 0.3 ms here, but 5 s for 60 KiB.
 * Longer texts go to protovalidate's own linear RE2, which takes 10 us for what V8 does in 0.1.
 */
const SHORT = 512;

/** Enforces the rules that request messages carry, and that their strings and times are sound, on each message. */
export function validate(): Interceptor {
  const check = messageCheck();
  return (next) => (req) => {
    if (req.stream) return next({ ...req, message: checked(req.message, req.method.input, check) });
    check(req.method.input, req.message);
    return next(req);
  };
}

/** Throws FIELD_INVALID, which names the first broken field and lists all of them; never what was in them. */
export type MessageCheck = (desc: DescMessage, message: Message) => void;

/** One check for all messages: rules are compiled at the first message of each type. */
export function messageCheck(): MessageCheck {
  const [quick, linear] = [createValidator({ regexMatch: nativeMatch() }), createValidator()];
  return (desc, message) => {
    const { clean, longest } = survey(message);
    if (clean && longest <= SHORT && plainlyValid(desc, message)) return;
    const broken = clean ? brokenRules(longest > SHORT ? linear : quick, desc, message) : brokenData(desc, message);
    const [first] = broken;
    if (first) throw new Fault('FIELD_INVALID', `${first.field}: ${first.description}`, { violations: broken });
  };
}

function brokenRules(validator: Validator, desc: DescMessage, message: Message): Violation[] {
  const result = validator.validate(desc, message);
  if (result.kind === 'valid') return [];
  if (result.kind === 'error') throw result.error;
  return result.violations.map(({ field, message: description, ruleId: rule }) => ({
    field: pathToString(field),
    description,
    rule,
  }));
}

function nativeMatch(): (pattern: string, text: string) => boolean {
  const compiled = new Map<string, RegExp>();
  return (pattern, text) => {
    const known = compiled.get(pattern) ?? new RegExp(pattern, 'u');
    compiled.set(pattern, known);
    return known.test(text);
  };
}

async function* checked<T extends Message>(messages: AsyncIterable<T>, desc: DescMessage, check: MessageCheck) {
  for await (const message of messages) {
    check(desc, message);
    yield message;
  }
}
