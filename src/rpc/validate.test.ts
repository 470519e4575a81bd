import {
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  getExtension,
  hasExtension,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { expect, test } from '@jest/globals';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import { AdminService } from '../../gen/amrutam/admin/v1/admin_pb.ts';
import { AuthService, SignUpRequestSchema } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import {
  AvailabilityService,
  ListSlotsRequestSchema,
  PublishSlotsRequestSchema,
  SearchDoctorsRequestSchema,
  UpdateDoctorProfileRequestSchema,
} from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingService, BookSlotRequestSchema } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { field as rules } from '../../gen/buf/validate/validate_pb.ts';
import { HealthListResponseSchema } from '../../gen/health/v1/health_pb.ts';
import { Fault } from '../fault.ts';
import { messageCheck } from './validate.ts';

const ID = '0192f0c4-7e5a-7b3c-8d2e-1f2a3b4c5d6e';
const check = messageCheck();

/** Paths and rules that a message breaks. */
function broken<D extends DescMessage>(desc: D, init: MessageInitShape<D>): string[] {
  try {
    check(desc, create(desc, init));
    return [];
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    expect(error.reason).toBe('FIELD_INVALID');
    return (error.options.violations ?? []).map(({ field, rule }) => `${field} ${rule}`);
  }
}

test('rules of nested fields are told by their path in proto names', () => {
  expect(broken(BookSlotRequestSchema, { requestId: ID, slotId: ID, reasonForVisit: '🩺 ä' })).toEqual([]);
  expect(
    broken(PublishSlotsRequestSchema, { requestId: ID, slots: [{ startTime: {}, endTime: {} }, { startTime: {} }] }),
  ).toEqual(['slots[1].end_time required']);
  expect(broken(UpdateDoctorProfileRequestSchema, { doctor: { specialties: ['a', ''] } })).toEqual([
    'doctor.specialties[1] string.pattern',
  ]);
});

test.each<[string, DescMessage, Record<string, unknown>, string]>([
  [
    'a lone surrogate',
    BookSlotRequestSchema,
    { requestId: ID, slotId: ID, reasonForVisit: 'a\ud800' },
    'reason_for_visit string.plain',
  ],
  ['U+0000', BookSlotRequestSchema, { requestId: 'a\0' }, 'request_id string.plain'],
  ['U+0000 in an optional field', SearchDoctorsRequestSchema, { query: '\0' }, 'query string.plain'],
  [
    'U+0000 in a list',
    UpdateDoctorProfileRequestSchema,
    { doctor: { languages: ['a', 'b\0'] } },
    'doctor.languages[1] string.plain',
  ],
  [
    'U+0000 in a field mask',
    UpdateDoctorProfileRequestSchema,
    { doctor: {}, updateMask: { paths: ['a', '\0'] } },
    'update_mask.paths[1] string.plain',
  ],
  ['U+0000 in a map', HealthListResponseSchema, { statuses: { 'a\0': {} } }, 'statuses string.plain'],
  [
    'a time with too many nanoseconds',
    ListSlotsRequestSchema,
    { doctorId: ID, from: { nanos: 1_000_000_000 } },
    'from timestamp.valid',
  ],
  [
    'a time with negative ones, in a list',
    PublishSlotsRequestSchema,
    { requestId: ID, slots: [{ startTime: { nanos: -1 } }] },
    'slots[0].start_time timestamp.valid',
  ],
  [
    'a time past the year 9999',
    ListSlotsRequestSchema,
    { doctorId: ID, until: { seconds: 253_402_300_800n } },
    'until timestamp.valid',
  ],
])('%s', (_what, desc, init, expected) => {
  expect(broken(desc, init)).toEqual([expected]);
});

test('times that binary can carry and JSON can’t are refused', () => {
  const bytes = toBinary(
    ListSlotsRequestSchema,
    create(ListSlotsRequestSchema, { doctorId: ID, from: { seconds: 1n, nanos: 2_000_000_000 } }),
  );
  expect(() => check(ListSlotsRequestSchema, fromBinary(ListSlotsRequestSchema, bytes))).toThrow('from: is not a time');
});

test('a text of 60 KiB that is made to keep a regular expression busy is refused in time', () => {
  const startedAt = performance.now();
  const signUp = {
    email: 'a@b.test',
    password: 'x'.repeat(15),
    role: Role.PATIENT,
    displayName: `${'x'.repeat(60_000)}\n`,
  };
  expect(broken(SignUpRequestSchema, signUp)).toEqual(['display_name string.max_len', 'display_name string.pattern']);
  expect(performance.now() - startedAt).toBeLessThan(4_000);
});

test('a long text is checked as a short one', () => {
  const bio = (text: string) => broken(UpdateDoctorProfileRequestSchema, { doctor: { bio: text } });
  expect(bio('ä\n🩺'.repeat(500))).toEqual([]);
  expect(bio(`${'ä'.repeat(1_900)}\u0007`)).toEqual(['doctor.bio string.pattern']);
  expect(bio('\u0007')).toEqual(['doctor.bio string.pattern']);
});

test('every pattern of the contract means the same to V8 as to RE2: classes, anchors and stars only', () => {
  const patterns = [AdminService, AuthService, AvailabilityService, BookingService]
    .flatMap((service) => service.methods)
    .flatMap((method) => fieldsOf(method.input))
    .flatMap((field) => patternOf(field));
  expect(patterns.length).toBeGreaterThan(20);
  for (const pattern of new Set(patterns)) {
    expect(pattern).toMatch(/^\^(\[\^?[^\]]+\]\*?)+\$$/);
    expect(() => new RegExp(pattern, 'u')).not.toThrow();
  }
});

function fieldsOf(desc: DescMessage): DescField[] {
  return desc.fields.flatMap((field) => [
    field,
    ...(field.message && field.message.file !== desc.file ? [] : field.message ? fieldsOf(field.message) : []),
  ]);
}

function patternOf({ proto: { options } }: DescField): string[] {
  if (!options || !hasExtension(options, rules)) return [];
  const { type } = getExtension(options, rules);
  const text = type.case === 'repeated' ? type.value.items?.type : type;
  return text?.case === 'string' && text.value.pattern !== '' ? [text.value.pattern] : [];
}
