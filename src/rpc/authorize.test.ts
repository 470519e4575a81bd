import {
  clone,
  create,
  type DescMethod,
  type DescMethodUnary,
  type MessageInitShape,
  setExtension,
} from '@bufbuild/protobuf';
import { MethodDescriptorProtoSchema, MethodOptionsSchema } from '@bufbuild/protobuf/wkt';
import { createContextValues } from '@connectrpc/connect';
import { expect, test } from '@jest/globals';
import { AccessSchema, access, Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import { AdminService } from '../../gen/amrutam/admin/v1/admin_pb.ts';
import { AuthService } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { BookingService } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { type AuthorizeOptions, authorize } from './authorize.ts';
import { type Caller, kCaller, type RoleName } from './call.ts';

const logged: object[] = [];
const options: AuthorizeOptions = {
  publicServices: [],
  log: { info() {}, error: (fields) => void logged.push(fields) },
};

/** What becomes of a call to `method` by somebody with `role`. */
async function ask(method: DescMethod, role?: RoleName, with_ = options) {
  const caller: Caller | undefined = role && { userId: 'u', sessionId: 's', role };
  const request = { method: method as DescMethodUnary, contextValues: createContextValues().set(kCaller, caller) };
  const next = async () => 'through' as never;
  return authorize(with_)(next)(request as never).catch((error: unknown) => error);
}

function ruled(rule: MessageInitShape<typeof AccessSchema> | undefined): DescMethod {
  const method = BookingService.method.bookSlot;
  const proto = clone(MethodDescriptorProtoSchema, method.proto);
  proto.options = create(MethodOptionsSchema);
  if (rule) setExtension(proto.options, access, create(AccessSchema, rule));
  return { ...method, proto };
}

const TOKEN = expect.objectContaining({ reason: 'TOKEN_INVALID' });
const ROLE = expect.objectContaining({ reason: 'ROLE_REQUIRED' });

test.each<[DescMethod, RoleName | undefined, unknown]>([
  [AuthService.method.logIn, undefined, 'through'],
  [AuthService.method.logIn, 'DOCTOR', 'through'],
  [AuthService.method.logOut, undefined, TOKEN],
  [AuthService.method.logOut, 'ADMINISTRATOR', 'through'],
  [BookingService.method.bookSlot, undefined, TOKEN],
  [BookingService.method.bookSlot, 'PATIENT', 'through'],
  [BookingService.method.bookSlot, 'DOCTOR', ROLE],
  [BookingService.method.bookSlot, 'ADMINISTRATOR', ROLE],
  [AdminService.method.listUsers, 'PATIENT', ROLE],
  [AdminService.method.listUsers, 'ADMINISTRATOR', 'through'],
])('%s for %s', async (method, role, expected) => {
  expect(await ask(method, role)).toEqual(expected);
});

test('the refusal names the roles that would do', async () => {
  const both = ruled({ roles: [Role.PATIENT, Role.DOCTOR] });
  expect(await ask(both, 'ADMINISTRATOR')).toMatchObject({
    options: { metadata: { roles: 'ROLE_PATIENT,ROLE_DOCTOR' } },
  });
});

test.each<[string, MessageInitShape<typeof AccessSchema> | undefined]>([
  ['no rule', undefined],
  ['an empty rule', {}],
  ['two rules', { public: true, signedIn: true }],
  ['a rule and roles', { signedIn: true, roles: [Role.PATIENT] }],
])('a method with %s is refused to everybody, and that is logged once', async (_what, rule) => {
  logged.length = 0;
  const [method, check] = [ruled(rule), authorize(options)];
  const call = (role: RoleName | undefined) => {
    const caller = role && { userId: 'u', sessionId: 's', role };
    return check(async () => 'through' as never)({
      method,
      contextValues: createContextValues().set(kCaller, caller),
    } as never).catch((error: unknown) => error);
  };
  for (const role of [undefined, 'PATIENT', 'DOCTOR', 'ADMINISTRATOR'] as const) expect(await call(role)).toEqual(ROLE);
  expect(logged).toEqual([{ method: 'amrutam.booking.v1.BookingService/BookSlot' }]);
});

test('a service that the wiring names is for everybody', async () => {
  const named = { ...options, publicServices: [BookingService.typeName] };
  expect(await ask(BookingService.method.bookSlot, undefined, named)).toBe('through');
});
