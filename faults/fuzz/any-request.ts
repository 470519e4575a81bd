import { create, type DescMethodUnary, type Message, ScalarType } from '@bufbuild/protobuf';
import { FieldMaskSchema, TimestampSchema } from '@bufbuild/protobuf/wkt';
import { isText, isTime, type Place, placesIn, requestOf } from '../../test/support/protocols-fields.ts';
import { ODD_NUMBERS, ODD_SECONDS, ODD_TEXTS } from './odd-values.ts';
import type { Pool } from './pool.ts';
import type { Random } from './random.ts';

const MINUTE = 60n;

/** How a request is thought up. */
export interface Mind {
  readonly random: Random;
  readonly pool: Pool;
  /** How often a field has a value that programs trip over, 0 to 1; with 0 the request is one that rules allow. */
  readonly oddness: number;
}

/** A request with every field that must be there, and some of the others. */
export function anyRequest(method: DescMethodUnary, mind: Mind): Message {
  const { random, pool, oddness } = mind;
  const message = requestOf(method);
  for (const place of placesIn(method.input)) {
    const known = isText(place) ? pool.pick(place.field.name, random) : undefined;
    if (random.chance(oddness)) place.set(message, oddValue(place, random));
    else if (known !== undefined && random.chance(needed(place) ? 0.95 : 0.3)) place.set(message, known);
    else if (random.chance(0.2) && place.rules === undefined) place.set(message, oddValue(place, random));
  }
  return message;
}

/** Page tokens and filters are asked for less often than what a call is about. */
function needed({ path, field }: Place): boolean {
  return !/page_token|patient_id|actor_id/.test(path) && field.name !== 'request_id';
}

function oddValue(place: Place, random: Random): unknown {
  const { field } = place;
  if (isText(place)) return random.pick(ODD_TEXTS);
  if (isTime(place)) return create(TimestampSchema, time(random));
  if ('message' in field && field.message) {
    return create(FieldMaskSchema, {
      paths: [random.pick(['*', 'bio', 'specialties', 'doctor.bio', 'a..b', '', 'state'])],
    });
  }
  if ('enum' in field && field.enum) return random.pick([...field.enum.values.map(({ number }) => number), 99, -1]);
  return scalar('scalar' in field ? field.scalar : undefined, random);
}

/** Most are soon, on a full minute; some are at the ends of time. */
function time(random: Random) {
  if (random.chance(0.2)) return { seconds: random.pick(ODD_SECONDS), nanos: random.pick([0, 1, 999_999_999, -1]) };
  const minutes = BigInt(Math.floor(Date.now() / 60_000) + random.below(3 * 24 * 60));
  return { seconds: minutes * MINUTE, nanos: 0 };
}

function scalar(type: ScalarType | undefined, random: Random): unknown {
  switch (type) {
    case ScalarType.BOOL:
      return random.chance(0.5);
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return BigInt(Math.abs(random.pick(ODD_NUMBERS)));
    case ScalarType.UINT32:
      return Math.abs(random.pick(ODD_NUMBERS));
    case ScalarType.BYTES:
      return random.bytes(random.below(100));
    default:
      return random.pick(ODD_NUMBERS);
  }
}
