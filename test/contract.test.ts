import { readFile } from 'node:fs/promises';
import { type DescField, type DescMessage, getOption, hasOption } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { describe, expect, test } from '@jest/globals';
import { ReasonSchema } from '../gen/amrutam/error/v1/reason_pb.ts';
import { field as rulesOption } from '../gen/buf/validate/validate_pb.ts';
import { CODE } from '../src/rpc/errors.ts';
import { SERVICES } from '../src/server.ts';
import { isSideEffectFree } from './support/protocols.ts';
import { isText, isTime, isUuid, placesIn } from './support/protocols-fields.ts';

/** What clients rely on: each method, and the fields of its request and response. */
const PROMISED: Record<string, Record<string, readonly [request: string, response: string]>> = {
  'amrutam.auth.v1.AuthService': {
    SignUp: ['email password display_name role time_zone', 'session'],
    LogIn: ['email password', 'session'],
    RefreshSession: ['refresh_token', 'session'],
    LogOut: ['', ''],
    GetCurrentUser: ['', 'user'],
    UpdateCurrentUser: ['display_name time_zone', 'user'],
    ListSessions: ['', 'sessions'],
    RevokeSession: ['session_id', ''],
    ChangePassword: ['current_password new_password', ''],
    RequestEmailVerification: ['', ''],
    VerifyEmail: ['token', ''],
    RequestPasswordReset: ['email', ''],
    ResetPassword: ['token new_password', ''],
  },
  'amrutam.availability.v1.AvailabilityService': {
    GetDoctor: ['doctor_id', 'doctor'],
    SearchDoctors: ['query specialty language open_from open_until page_size page_token', 'doctors next_page_token'],
    UpdateDoctorProfile: ['doctor update_mask', 'doctor'],
    PublishSlots: ['request_id slots', 'slots'],
    WithdrawSlot: ['request_id slot_id', 'slot'],
    GetSlot: ['slot_id', 'slot'],
    ListSlots: ['doctor_id from until states page_size page_token', 'slots next_page_token'],
    CreateSchedule: ['request_id plan', 'schedule changes'],
    UpdateSchedule: ['request_id schedule_id plan update_mask', 'schedule changes'],
    DeleteSchedule: ['request_id schedule_id', 'changes'],
    GetSchedule: ['schedule_id', 'schedule'],
    ListSchedules: ['page_size page_token', 'schedules next_page_token'],
    PreviewSchedule: ['schedule_id plan from until page_size page_token', 'slots next_page_token'],
    AddException: ['request_id date windows', 'exception changes'],
    RemoveException: ['request_id exception_id', 'changes'],
    ListExceptions: ['from_date until_date page_size page_token', 'exceptions next_page_token'],
  },
  'amrutam.booking.v1.BookingService': {
    BookSlot: ['request_id slot_id reason_for_visit', 'booking'],
    GetBooking: ['booking_id purpose', 'booking'],
    ListBookings: ['states from until purpose page_size page_token', 'bookings next_page_token'],
    CancelBooking: ['request_id booking_id reason', 'booking'],
    RescheduleBooking: ['request_id booking_id new_slot_id', 'booking'],
    CheckIn: ['request_id booking_id', 'booking'],
    StartConsultation: ['request_id booking_id', 'booking'],
    CompleteConsultation: ['request_id booking_id', 'booking'],
    MarkNoShow: ['request_id booking_id', 'booking'],
  },
  'amrutam.admin.v1.AdminService': {
    GetAnalytics: ['from until bucket time_zone doctor_id', 'buckets totals busiest_doctors'],
    ListUsers: ['role state doctor_state query page_size page_token', 'users next_page_token'],
    SuspendUser: ['user_id', 'user'],
    ReinstateUser: ['user_id', 'user'],
    ApproveDoctor: ['doctor_id', 'doctor upcoming_bookings'],
    SuspendDoctor: ['doctor_id', 'doctor upcoming_bookings'],
    ListAuditEvents: [
      'actor_id action entity_type entity_id patient_id from until page_size page_token',
      'events next_page_token',
    ],
    VerifyAuditLog: [
      'first_seal max_seals head_seal head_root',
      'first_seal last_seal rows next_seal flaw head_seal head_root',
    ],
    ExportAuditEvents: ['purpose actor_id action entity_type entity_id patient_id from until', 'events'],
  },
};

/** Fields of messages that clients rely on, and of enums the values. */
const SHAPES: Record<string, string> = {
  'auth.v1.Session': 'access_token access_token_expire_time refresh_token refresh_token_expire_time user',
  'auth.v1.User': 'id email display_name role state email_verified',
  'availability.v1.Doctor': 'id display_name specialties languages bio time_zone state next_open_time',
  'availability.v1.Slot': 'id doctor_id start_time end_time state',
  'availability.v1.SlotTimes': 'start_time end_time',
  'availability.v1.Schedule': 'id doctor_id plan create_time update_time',
  'availability.v1.SchedulePlan': 'time_zone from_date until_date windows advance_days',
  'availability.v1.WeeklyWindow': 'weekday local_start local_end slot_minutes break_minutes',
  'availability.v1.ScheduleException': 'id doctor_id date windows create_time',
  'availability.v1.SlotChanges': 'made more_to_come withdrawn booked_outside',
  'booking.v1.Booking':
    'id slot_id doctor_id doctor_display_name patient_id patient_display_name start_time end_time state reason_for_visit cancel_reason cancelled_by_role create_time update_time',
  'booking.v1.SlotAlternatives': 'slots',
};
const VALUES: Record<string, string> = {
  'availability.v1.DoctorState': 'UNSPECIFIED PENDING ACTIVE SUSPENDED',
  'availability.v1.SlotState': 'UNSPECIFIED OPEN BOOKED WITHDRAWN',
  'availability.v1.PreviewOutcome': 'UNSPECIFIED NEW THERE OVERLAPS_OPEN OVERLAPS_BOOKED WITHDRAWN OTHER_SCHEDULE',
  'booking.v1.BookingState': 'UNSPECIFIED CONFIRMED CHECKED_IN IN_PROGRESS COMPLETED CANCELLED NO_SHOW',
};

/** The code of each reason, as the contract groups them. */
const REASONS: Record<string, string> = {
  InvalidArgument: 'FIELD_INVALID PAGE_TOKEN_INVALID MESSAGE_MALFORMED',
  Unauthenticated: 'TOKEN_INVALID TOKEN_EXPIRED CREDENTIALS_INVALID SESSION_REVOKED',
  PermissionDenied: 'ROLE_REQUIRED ACCOUNT_SUSPENDED DOCTOR_NOT_APPROVED',
  NotFound:
    'SLOT_NOT_FOUND BOOKING_NOT_FOUND DOCTOR_NOT_FOUND USER_NOT_FOUND SESSION_NOT_FOUND SCHEDULE_NOT_FOUND EXCEPTION_NOT_FOUND',
  AlreadyExists: 'EMAIL_TAKEN',
  FailedPrecondition:
    'SLOT_TAKEN SLOT_IN_PAST SLOT_OVERLAP SLOT_NOT_OPEN PATIENT_BUSY BOOKING_STATE REQUEST_ID_REUSED TOO_EARLY TOO_LATE EXCEPTION_EXISTS SCHEDULE_LIMIT MAIL_TOKEN_INVALID MAIL_OFF',
  Aborted: 'IN_PROGRESS CONTENTION',
  ResourceExhausted: 'RATE_LIMITED MESSAGE_TOO_LARGE',
  DeadlineExceeded: 'DEADLINE_EXCEEDED',
  Unavailable: 'OVERLOADED DRAINING DATABASE_DOWN OUTCOME_UNKNOWN',
};

/** Texts that no rule bounds, and what does instead. */
const UNBOUNDED = new Map([
  // protovalidate has no rule for masks; the handler takes no path but the five that it names.
  ['UpdateDoctorProfileRequest.update_mask', 'only known paths'],
  ['UpdateScheduleRequest.update_mask', 'only known paths'],
]);
/** Controls that no text of a request may have. Line breaks and tabs are for the handler's own rules. */
const NUL = '\0';

const methods = SERVICES.flatMap((service) => service.methods);
const requests = methods.map(({ input }) => input);
const messages = new Map(
  SERVICES.flatMap(({ file }) => file.messages).map((message) => [short(message.typeName), message]),
);

describe('what clients rely on is there', () => {
  test('every promised method, with the fields of its request and response', () => {
    for (const service of SERVICES) {
      const promised = PROMISED[service.typeName] ?? {};
      expect(service.methods.map(({ name }) => name)).toEqual(expect.arrayContaining(Object.keys(promised)));
      for (const { name, input, output } of service.methods) {
        const [request, response] = promised[name] ?? ['', ''];
        expect(names(input)).toEqual(expect.arrayContaining(words(request)));
        expect(names(output)).toEqual(expect.arrayContaining(words(response)));
      }
    }
    expect(SERVICES.map(({ typeName }) => typeName)).toEqual(Object.keys(PROMISED));
  });

  test.each(Object.entries(SHAPES))('the fields of %s', (name, fields) => {
    expect(names(messages.get(name) as DescMessage)).toEqual(expect.arrayContaining(words(fields)));
  });

  test.each(Object.entries(VALUES))('the values of %s', (name, values) => {
    const desc = SERVICES.flatMap(({ file }) => file.enums).find(({ typeName }) => short(typeName) === name);
    const prefix = desc?.sharedPrefix?.toUpperCase() ?? '';
    expect(desc?.values.map((value) => value.name)).toEqual(words(values).map((value) => `${prefix}${value}`));
  });

  test('every reason under its code, and no reason beside them', () => {
    const grouped = Object.entries(REASONS).flatMap(([code, reasons]) =>
      words(reasons).map((reason) => [reason, Code[code as keyof typeof Code]]),
    );
    expect(CODE).toEqual(Object.fromEntries(grouped));
    expect(
      ReasonSchema.values
        .map(({ localName }) => localName)
        .filter((name) => name !== 'UNSPECIFIED')
        .sort(),
    ).toEqual(Object.keys(CODE).sort());
  });

  test('every reason has a comment that begins with its code, and a sample', async () => {
    const text = await readFile(new URL('../proto/amrutam/error/v1/reason.proto', import.meta.url), 'utf8');
    for (const [reason, code] of Object.entries(CODE)) {
      const [, comment = ''] = new RegExp(`((?:\\n  //[^\\n]*)+)\\n  REASON_${reason} = `).exec(text) ?? [];
      expect(`${reason}: ${comment}`).toContain(`// ${constantCase(Code[code])}: `);
      expect(`${reason}: ${comment}`).toContain('Sample: ');
    }
  });
});

describe('methods', () => {
  test('no two share a request or a response', () => {
    const types = methods.flatMap(({ input, output }) => [input.typeName, output.typeName]);
    expect(new Set(types).size).toBe(2 * methods.length);
    for (const { name, input, output } of methods)
      expect([input.name, output.name]).toEqual([`${name}Request`, `${name}Response`]);
  });

  test('exactly four are free of side effects, so that browsers may GET them', () => {
    expect(methods.filter(isSideEffectFree).map(({ name }) => name)).toEqual([
      'GetDoctor',
      'SearchDoctors',
      'GetSlot',
      'ListSlots',
    ]);
  });

  test('listings page alike', () => {
    for (const { input, output } of methods) {
      if (!input.field.pageSize && !input.field.pageToken && !output.field.nextPageToken) continue;
      expect([input.field.pageSize?.name, input.field.pageToken?.name, output.field.nextPageToken?.name]).toEqual([
        'page_size',
        'page_token',
        'next_page_token',
      ]);
    }
  });
});

describe('requests are bounded by their own rules', () => {
  const places = requests.flatMap((request) => placesIn(request).map((place) => ({ request: request.name, ...place })));
  const named = ({ request, path }: { request: string; path: string }) => `${request}.${path}`;
  const bounded = places.filter((place) => !UNBOUNDED.has(named(place)));

  test('every text has a longest length and excludes U+0000', () => {
    const loose = bounded.filter(isText).filter((place) => {
      if (isUuid(place)) return false;
      const { type } = place.rules ?? {};
      if (type?.case !== 'string') return true;
      const { maxLen, pattern, wellKnown } = type.value;
      const excluded = wellKnown.case === 'email' || (pattern !== '' && !new RegExp(pattern, 'u').test(NUL));
      return maxLen === 0n || maxLen > 2_000n || !excluded;
    });
    expect(loose.map(named)).toEqual([]);
  });

  test('patterns are anchored at both ends', () => {
    const patterns = bounded.flatMap(({ rules }) => (rules?.type.case === 'string' ? [rules.type.value.pattern] : []));
    for (const pattern of patterns) expect(pattern).toMatch(/^(\^.*\$)?$/s);
  });

  test('every list has a greatest number of items', () => {
    const lists = everyField(requests).filter((field) => field.fieldKind === 'list');
    expect(lists.length).toBeGreaterThan(0);
    for (const field of lists) {
      const { type } = getOption(field, rulesOption);
      expect([`${field}`, type.case === 'repeated' && type.value.maxItems > 0n]).toEqual([`${field}`, true]);
    }
  });

  test('every id is a UUID', () => {
    const ids = places.filter(({ field }) => /(^|_)id$/.test(field.name));
    expect(ids.length).toBeGreaterThan(20);
    expect(ids.filter((place) => !isUuid(place)).map(named)).toEqual([]);
  });

  test('every time has a first and a last instant', () => {
    const times = places.filter((place) => isTime(place) && !isOutputOnly(place.field));
    expect(times.length).toBeGreaterThan(5);
    for (const place of times) {
      const type = place.rules?.type;
      const limits = type?.case === 'timestamp' && [type.value.greaterThan.case, type.value.lessThan.case];
      expect([named(place), limits]).toEqual([named(place), ['gte', 'lt']]);
    }
  });

  test('every enum takes only values that it defines', () => {
    const enums = places.filter(({ field }) => 'enum' in field && field.enum && !isOutputOnly(field));
    expect(enums.length).toBeGreaterThan(5);
    for (const place of enums) {
      const type = place.rules?.type;
      const closed = type?.case === 'enum' && (type.value.definedOnly || type.value.in.length > 0);
      expect([named(place), closed]).toEqual([named(place), true]);
    }
  });

  test('every page_size is at least 0', () => {
    for (const place of places.filter(({ field }) => field.name === 'page_size')) {
      expect(place.rules?.type).toMatchObject({ case: 'int32', value: { greaterThan: { case: 'gte', value: 0 } } });
    }
  });

  test('what changes something for others takes a request_id, which must be a UUID', () => {
    const booking = SERVICES.flatMap((service) => service.methods)
      .filter(({ input }) => input.field.requestId)
      .map(({ name }) => name);
    expect(booking).toEqual([
      'PublishSlots',
      'WithdrawSlot',
      'CreateSchedule',
      'UpdateSchedule',
      'DeleteSchedule',
      'AddException',
      'RemoveException',
      'BookSlot',
      'CancelBooking',
      'RescheduleBooking',
      'CheckIn',
      'StartConsultation',
      'CompleteConsultation',
      'MarkNoShow',
    ]);
    for (const { input } of methods) {
      const field = input.field.requestId;
      if (field) expect(hasOption(field, rulesOption)).toBe(true);
    }
  });
});

/** Doctor is a request and an answer in one; these are only ever told. */
function isOutputOnly({ parent, name }: DescField): boolean {
  return parent?.name === 'Doctor' && ['state', 'next_open_time'].includes(name);
}

/** The fields of messages of ours in `from`, and of what they are made of. */
function everyField(from: readonly DescMessage[], seen = new Set<DescMessage>()): DescField[] {
  return from.flatMap((message) => {
    if (seen.has(message) || !message.typeName.startsWith('amrutam.')) return [];
    seen.add(message);
    const inner = message.fields.flatMap((field) => ('message' in field && field.message ? [field.message] : []));
    return [...message.fields, ...everyField(inner, seen)];
  });
}

function names({ fields }: DescMessage): string[] {
  return fields.map(({ name }) => name);
}

function words(text: string): string[] {
  return text === '' ? [] : text.split(' ');
}

function short(typeName: string): string {
  return typeName.replace('amrutam.', '');
}

function constantCase(name = ''): string {
  return name.replace(/(?<!^)[A-Z]/g, '_$&').toUpperCase();
}
