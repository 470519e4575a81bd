import { randomUUIDv7 as uuid } from 'node:crypto';
import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  getOption,
  hasOption,
  type Message,
  ScalarType,
} from '@bufbuild/protobuf';
import { isReflectMessage, type ReflectMessage, reflect, type ScalarValue } from '@bufbuild/protobuf/reflect';
import { FeatureSet_FieldPresence, FieldMaskSchema, TimestampSchema } from '@bufbuild/protobuf/wkt';
import { type FieldRules, Ignore, field as rulesOption } from '../../gen/buf/validate/validate_pb.ts';

/** A field of a request, however deep: of a list, its first item. */
export interface Place {
  /** As violations name it, such as `slots[0].start_time`. */
  readonly path: string;
  readonly field: DescField;
  /** Absent where the contract states no rule. */
  readonly rules: FieldRules | undefined;
  /** Puts a value there, in a message that has the place already or gets it. */
  set(message: Message, value: unknown): void;
}

/** Every field of `desc` that isn't itself made of ours: strings, numbers, enums, times, masks. */
export function placesIn(desc: DescMessage): Place[] {
  return walk(desc, '', (message) => reflect(desc, message));
}

/** A request with everything in it that its rules demand, and no more. */
export function smallestValid(desc: DescMessage): Message {
  const message = reflect(desc, create(desc));
  for (const field of desc.fields) fill(message, field);
  return message.message;
}

/** The same for a method. */
export function requestOf({ input }: DescMethod): Message {
  return smallestValid(input);
}

/** Whether the rules ask for a UUID. */
export function isUuid({ rules }: Pick<Place, 'rules'>): boolean {
  return rules?.type.case === 'string' && rules.type.value.wellKnown.case === 'uuid';
}

/** Whether the place is one for text. */
export function isText({ field }: Place): boolean {
  return field.fieldKind === 'scalar' || (field.fieldKind === 'list' && field.listKind === 'scalar')
    ? field.scalar === ScalarType.STRING
    : false;
}

/** Whether the place is one for a time. */
export function isTime({ field }: Place): boolean {
  return field.fieldKind === 'message' && field.message.typeName === TimestampSchema.typeName;
}

/** The rules of a field; of a list, those of its items. */
export function rulesOf(field: DescField): FieldRules | undefined {
  if (!hasOption(field, rulesOption)) return undefined;
  const rules = getOption(field, rulesOption);
  return rules.type.case === 'repeated' ? rules.type.value.items : rules;
}

const LEAVES: readonly string[] = [TimestampSchema.typeName, FieldMaskSchema.typeName];

type Reach = (message: Message) => ReflectMessage;

function walk(desc: DescMessage, prefix: string, reach: Reach): Place[] {
  return desc.fields.flatMap((field): Place[] => {
    const path = `${prefix}${field.name}`;
    const inner = 'message' in field ? field.message : undefined;
    if (field.fieldKind === 'list') {
      const place = { path: `${path}[0]`, field, rules: rulesOf(field) };
      if (!inner) return [{ ...place, set: (message, value) => setFirst(reach(message), field, value as ScalarValue) }];
      return walk(inner, `${path}[0].`, (message) => firstOf(reach(message), field));
    }
    if (inner && !LEAVES.includes(inner.typeName)) {
      return walk(inner, `${path}.`, (message) => nested(reach(message), field));
    }
    return [
      {
        path,
        field,
        rules: rulesOf(field),
        set: (message, value) => reach(message).set(field, inner ? reflect(inner, value as Message) : value),
      },
    ];
  });
}

type ListField = DescField & { fieldKind: 'list' };

function setFirst(holder: ReflectMessage, field: ListField, value: ScalarValue): void {
  const list = holder.get(field);
  list.clear();
  list.add(value);
}

function firstOf(holder: ReflectMessage, field: ListField): ReflectMessage {
  const list = holder.get(field);
  if (list.size === 0 && field.message) list.add(reflect(field.message, create(field.message)));
  const first = list.get(0);
  if (!isReflectMessage(first)) throw new Error(`${field.name} is a list of messages`);
  return first;
}

function nested(holder: ReflectMessage, field: DescField): ReflectMessage {
  const desc = 'message' in field ? field.message : undefined;
  if (!desc) throw new Error(`${field.name} is a message`);
  if (!holder.isSet(field)) holder.set(field, reflect(desc, create(desc)));
  return holder.get(field) as ReflectMessage;
}

function fill(message: ReflectMessage, field: DescField): void {
  const rules = hasOption(field, rulesOption) ? getOption(field, rulesOption) : undefined;
  if (!rules || rules.ignore === Ignore.IF_ZERO_VALUE) return;
  const { type } = rules;
  if (type.case === 'string' && !message.isSet(field) && field.presence !== FeatureSet_FieldPresence.EXPLICIT) {
    const text = textFor(field.name, type.value);
    if (text !== undefined) message.set(field, text);
  } else if (type.case === 'enum' && type.value.in.length > 0) message.set(field, type.value.in[0]);
  else if (type.case === 'repeated' && type.value.minItems > 0n && field.fieldKind === 'list' && field.message)
    message.get(field).add(reflect(field.message, smallestValid(field.message)));
  else if (rules.required && 'message' in field && field.message)
    message.set(field, reflect(field.message, requiredMessage(field.message, field.name)));
}

function requiredMessage(desc: DescMessage, name: string): Message {
  if (desc.typeName !== TimestampSchema.typeName) return smallestValid(desc);
  // Ranges end half an hour after they begin; a day ahead, so that slots can be there.
  const minutes = Math.floor(Date.now() / 60_000) + 24 * 60 + (/^(until|end_time)$/.test(name) ? 30 : 0);
  return create(TimestampSchema, { seconds: BigInt(minutes) * 60n });
}

type StringRules = Extract<FieldRules['type'], { case: 'string' }>['value'];

/** Undefined where an empty text is right. */
function textFor(name: string, { minLen, pattern, wellKnown }: StringRules): string | undefined {
  if (wellKnown.case === 'uuid') return uuid();
  if (wellKnown.case === 'email') return `${uuid()}@example.test`;
  if (minLen === 0n && (pattern === '' || new RegExp(pattern, 'u').test(''))) return undefined;
  if (name === 'date') return new Date().toISOString().slice(0, 10);
  return name.endsWith('password') ? `a long ${name} that nobody has` : 'x'.repeat(Math.max(1, Number(minLen)));
}
