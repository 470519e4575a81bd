import type { DescMethodUnary, Message } from '@bufbuild/protobuf';
import { messageCheck } from '../../src/rpc/validate.ts';
import type { Marks } from './marks.ts';
import { isText, type Place, placesIn, requestOf } from './protocols-fields.ts';

/** How a request with marks in all of its texts is meant. */
export type Kind = 'valid' | 'invalid' | 'unsound';

const isValid = (method: DescMethodUnary, message: Message): boolean => {
  try {
    check(method.input, message);
    return true;
  } catch {
    return false;
  }
};
const check = messageCheck();

/**
 * A request of the method with a mark in every text that it has. In a valid one only where the rules take words; in an
 * unsound one U+0000 besides, which PostgreSQL has no text for.
 */
export function markedRequest(method: DescMethodUnary, marks: Marks, kind: Kind): Message {
  const texts = placesIn(method.input).filter(isText);
  const markFor = ({ path }: Place) => marks.at(`${kind} ${method.name} ${path}`);
  if (kind !== 'valid') {
    const message = requestOf(method);
    for (const place of texts) place.set(message, `${markFor(place)}${kind === 'unsound' ? '\0' : ' <'} and more`);
    return message;
  }
  const taken: [Place, string][] = [];
  const withAll = (more: readonly [Place, string][]) => {
    const message = requestOf(method);
    for (const [place, text] of [...taken, ...more]) place.set(message, text);
    return message;
  };
  for (const place of texts) {
    const mark = markFor(place);
    const words = [`${mark} and more of it`, mark, `${mark}@example.test`, mark.toUpperCase()];
    const word = words.find((one) => isValid(method, withAll([[place, one]])));
    if (word !== undefined) taken.push([place, word]);
  }
  return withAll([]);
}

/** Headers in which a caller says too much. One of a sane form under x-request-id would be a name of the call, and is kept. */
export function markedHeaders(marks: Marks, what: string): Record<string, string> {
  const at = (name: string) => marks.at(`${what} ${name}`);
  return {
    'user-agent': `Browser ${at('user-agent')}`,
    'x-request-id': `${at('x-request-id')} (not sane)`,
    'x-forwarded-for': `${at('x-forwarded-for')}, 192.0.2.${at('x-forwarded-for')}`,
    'x-something': at('an unknown header'),
    cookie: `session=${at('cookie')}`,
    referer: `http://localhost/?q=${at('referer')}`,
    origin: `http://${at('origin')}.test`,
    traceparent: `00-${at('traceparent')}-01`,
    baggage: `patient=${at('baggage')}`,
  };
}
