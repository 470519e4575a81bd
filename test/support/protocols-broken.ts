import { create, type DescMethodUnary, fromBinary, getOption, type Message, toBinary } from '@bufbuild/protobuf';
import { TimestampSchema } from '@bufbuild/protobuf/wkt';
import { access, RoleSchema } from '../../gen/amrutam/access/v1/access_pb.ts';
import type { RoleName } from '../../src/caller.ts';
import { SERVICES } from '../../src/server.ts';
import { isText, isTime, isUuid, type Place, placesIn, requestOf } from './protocols-fields.ts';

/** A request that is right but for one field. */
export interface Broken {
  /** `GetSlot slot_id`, and what is wrong. */
  readonly what: string;
  readonly method: DescMethodUnary;
  /** Field and value, as violations name it. */
  readonly path: string;
  readonly message: () => Message;
  /** JSON has no way to say it, so only the binary protocols carry it. */
  readonly onlyBinary: boolean;
}

/** A method, and a role that may call it; undefined: nobody needs to. */
export interface Callable {
  readonly method: DescMethodUnary;
  readonly role: RoleName | undefined;
}

/** Every method of every service. */
export const CALLABLES: readonly Callable[] = SERVICES.flatMap(({ methods }) => methods).map((method) => {
  const { roles, signedIn } = getOption(method, access);
  const named = roles.map((role) => RoleSchema.value[role]?.localName as RoleName);
  return { method: method as DescMethodUnary, role: signedIn ? 'PATIENT' : named[0] };
});

const RUBBISH = ['x', "' OR 1=1 --", '0192f0c47e5a7b3c8d2e1f2a3b4c5d6e', '{0192f0c4-7e5a-7b3c-8d2e-1f2a3b4c5d6e}'];
const FIRST_SECOND = -62_135_596_800n;
/** Seconds and nanos that are no time of ours; the first ones are none at all. */
const NO_TIMES: readonly (readonly [string, bigint, number])[] = [
  ['in the year 0', FIRST_SECOND - 1n, 0],
  ['after the year 9999', 253_402_300_800n, 0],
  ['at the last of all seconds', 2n ** 63n - 1n, 0],
  ['with negative nanos', 1_800_000_000n, -1],
  ['with a second of nanos', 1_800_000_000n, 1_000_000_000],
];
const OUTSIDE: readonly (readonly [string, bigint, number])[] = [
  ['before 1970', -1n, 0],
  ['in the year 2200', 7_258_118_400n, 0],
];

/** Of one method: every field of its request, broken in every way that suits its kind. */
export function brokenRequests(method: DescMethodUnary): Broken[] {
  return placesIn(method.input).flatMap((place) =>
    [...texts(place), ...ids(place), ...numbers(place), ...times(place)].map(([wrong, value, onlyBinary = false]) => ({
      what: `${place.path} ${wrong}`,
      method,
      path: place.path,
      onlyBinary,
      message: () => withValue(method, place, value),
    })),
  );
}

/** A valid request with that value in the place. */
export function withValue(method: DescMethodUnary, place: Place, value: unknown): Message {
  const message = requestOf(method);
  place.set(message, value);
  return message;
}

/** The bytes of a request with half of a surrogate pair in the place, which is no UTF-8. */
export function withLoneSurrogate(method: DescMethodUnary, place: Place): Uint8Array {
  const [stand, lone] = ['\u{E000}', Buffer.from([0xed, 0xa0, 0x80])];
  const bytes = Buffer.from(toBinary(method.input, withValue(method, place, `a${stand}b`)));
  lone.copy(bytes, bytes.indexOf(stand));
  return bytes;
}

type Wrong = readonly [what: string, value: unknown, onlyBinary?: boolean];

function texts(place: Place): Wrong[] {
  if (!isText(place)) return [];
  const { type } = place.rules ?? {};
  const longest = type?.case === 'string' ? Number(type.value.maxLen) : 0;
  const long: Wrong[] = longest > 0 ? [['that is too long', 'x'.repeat(longest + 1)]] : [];
  return [['with U+0000', 'a\0b'], ...long];
}

function ids(place: Place): Wrong[] {
  return isText(place) && isUuid(place) ? RUBBISH.map((id) => [`that is ${id}`, id]) : [];
}

function numbers({ field, path }: Place): Wrong[] {
  if (field.name === 'page_size') return [-1, -(2 ** 31)].map((size) => [`of ${size}`, size]);
  const isEnum = 'enum' in field && field.enum !== undefined;
  return isEnum && path !== 'doctor.state' ? [99, -1, 2 ** 31 - 1].map((number) => [`of ${number}`, number]) : [];
}

function times(place: Place): Wrong[] {
  if (!isTime(place)) return [];
  const outside = place.rules ? OUTSIDE : [];
  return [
    ...NO_TIMES.map(([what, seconds, nanos]): Wrong => [what, time(seconds, nanos), true]),
    ...outside.map(([what, seconds, nanos]): Wrong => [what, time(seconds, nanos)]),
  ];
}

/** By way of bytes, as a foreign client would send it. */
function time(seconds: bigint, nanos: number): Message {
  return fromBinary(TimestampSchema, toBinary(TimestampSchema, create(TimestampSchema, { seconds, nanos })));
}
