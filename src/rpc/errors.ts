import { create, createRegistry, type DescMessage, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { anyPack, anyUnpack } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { file_amrutam_booking_v1_booking } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  file_google_rpc_error_details,
  RetryInfoSchema,
} from '../../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';
import { Fault, type Reason } from '../fault.ts';
import { faultOfFramework } from './framework-error.ts';

/** The code that each reason travels under. */
export const CODE: Record<Reason, Code> = {
  FIELD_INVALID: Code.InvalidArgument,
  PAGE_TOKEN_INVALID: Code.InvalidArgument,
  MESSAGE_MALFORMED: Code.InvalidArgument,
  TOKEN_INVALID: Code.Unauthenticated,
  TOKEN_EXPIRED: Code.Unauthenticated,
  CREDENTIALS_INVALID: Code.Unauthenticated,
  SESSION_REVOKED: Code.Unauthenticated,
  ROLE_REQUIRED: Code.PermissionDenied,
  ACCOUNT_SUSPENDED: Code.PermissionDenied,
  DOCTOR_NOT_APPROVED: Code.PermissionDenied,
  SLOT_NOT_FOUND: Code.NotFound,
  BOOKING_NOT_FOUND: Code.NotFound,
  DOCTOR_NOT_FOUND: Code.NotFound,
  USER_NOT_FOUND: Code.NotFound,
  SESSION_NOT_FOUND: Code.NotFound,
  SCHEDULE_NOT_FOUND: Code.NotFound,
  EXCEPTION_NOT_FOUND: Code.NotFound,
  EMAIL_TAKEN: Code.AlreadyExists,
  SLOT_TAKEN: Code.FailedPrecondition,
  SLOT_IN_PAST: Code.FailedPrecondition,
  SLOT_OVERLAP: Code.FailedPrecondition,
  SLOT_NOT_OPEN: Code.FailedPrecondition,
  PATIENT_BUSY: Code.FailedPrecondition,
  BOOKING_STATE: Code.FailedPrecondition,
  REQUEST_ID_REUSED: Code.FailedPrecondition,
  TOO_EARLY: Code.FailedPrecondition,
  TOO_LATE: Code.FailedPrecondition,
  MAIL_TOKEN_INVALID: Code.FailedPrecondition,
  MAIL_OFF: Code.FailedPrecondition,
  EXCEPTION_EXISTS: Code.FailedPrecondition,
  SCHEDULE_LIMIT: Code.FailedPrecondition,
  IN_PROGRESS: Code.Aborted,
  CONTENTION: Code.Aborted,
  RATE_LIMITED: Code.ResourceExhausted,
  MESSAGE_TOO_LARGE: Code.ResourceExhausted,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  OVERLOADED: Code.Unavailable,
  DRAINING: Code.Unavailable,
  DATABASE_DOWN: Code.Unavailable,
  OUTCOME_UNKNOWN: Code.Unavailable,
};

/** Milliseconds told to callers whose refusal names none: longer where haste makes it worse. */
const RETRY_MS: Partial<Record<Code, number>> = {
  [Code.Aborted]: 200,
  [Code.Unavailable]: 500,
  [Code.ResourceExhausted]: 1_000,
};

/** BadRequest travels in a header block: this many violations stay well under the smallest limits of proxies. */
const MOST_VIOLATIONS = 20;

const DETAILS = createRegistry(file_google_rpc_error_details, file_amrutam_booking_v1_booking);

/** Errors that are answers already. */
const answers = new WeakSet<ConnectError>();

interface Detail {
  readonly desc: DescMessage;
  readonly value: Message;
}

/** Makes `error` an answer: the translator passes it unchanged. For codes that have no reason, such as a health check's. */
export function asAnswer(error: ConnectError): ConnectError {
  answers.add(error);
  return error;
}

/**
 * The answer that `error` becomes, for every transport: a Fault with its reason and details, a refusal of the framework
 * as ours, anything else as INTERNAL without a detail. Its `cause`, which never travels, is then what to log.
 */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof ConnectError && answers.has(error)) return error;
  const known = error instanceof ConnectError ? faultOfFramework(error) : error;
  if (known instanceof ConnectError) return asAnswer(known);
  try {
    if (known instanceof Fault) return answerOf(known);
  } catch (unencodable) {
    return internal(unencodable);
  }
  return internal(error);
}

/** A refusal as the bytes of a google.rpc.Status, to be stored with the request it answers. */
export function refusalBytes(fault: Fault): Uint8Array {
  const { code, rawMessage: message } = answerOf(fault);
  const details = detailsOf(fault).map(({ desc, value }) => anyPack(desc, value));
  return toBinary(StatusSchema, create(StatusSchema, { code, message, details }));
}

/** The refusal that `refusalBytes` made `bytes` of, as it was; a replayed one says so in its metadata. */
export function refusalFromBytes(bytes: Uint8Array, { replayed }: { replayed: boolean }): ConnectError {
  const status = fromBinary(StatusSchema, bytes);
  const error = new ConnectError(
    status.message,
    status.code,
    replayed ? { 'idempotency-replayed': 'true' } : undefined,
  );
  error.details = status.details.map((any) => {
    const value = anyUnpack(any, DETAILS);
    const desc = value && DETAILS.getMessage(value.$typeName);
    return desc ? { desc, value } : { type: any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1), value: any.value };
  });
  return asAnswer(error);
}

/** The reason that an answer carries; absent in INTERNAL, CANCELLED and the like. */
export function reasonOf(error: ConnectError): string | undefined {
  return error.findDetails(ErrorInfoSchema)[0]?.reason;
}

function internal(cause: unknown): ConnectError {
  return asAnswer(new ConnectError('internal error', Code.Internal, undefined, undefined, cause));
}

function answerOf(fault: Fault): ConnectError {
  const details = detailsOf(fault);
  const depth = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  const error = new ConnectError(fault.message.toWellFormed(), CODE[fault.reason], undefined, details);
  Error.stackTraceLimit = depth;
  return asAnswer(error);
}

function detailsOf(fault: Fault): Detail[] {
  const { reason } = fault;
  const { metadata = {}, violations = [], details = [] } = fault.options;
  const info = create(ErrorInfoSchema, { reason, domain: 'amrutam', metadata });
  const all: Detail[] = [{ desc: ErrorInfoSchema, value: info }];
  if (violations.length > 0) all.push({ desc: BadRequestSchema, value: badRequest(violations) });
  const retryMs = retryAfter(fault);
  if (retryMs !== undefined) all.push({ desc: RetryInfoSchema, value: retryInfo(retryMs) });
  for (const { desc, value } of details) all.push({ desc, value: encodable(desc, create(desc, value)) });
  return all;
}

function badRequest(violations: NonNullable<Fault['options']['violations']>): Message {
  const fieldViolations = violations
    .slice(0, MOST_VIOLATIONS)
    .map(({ field, description, rule }) => ({ field, description, reason: rule }));
  return create(BadRequestSchema, { fieldViolations });
}

function retryAfter({ reason, options }: Fault): number | undefined {
  if (reason === 'MESSAGE_TOO_LARGE') return undefined;
  return options.retryAfterMs ?? RETRY_MS[CODE[reason]];
}

function retryInfo(ms: number): Message {
  const whole = Math.max(0, Math.ceil(ms));
  const retryDelay = { seconds: BigInt(Math.floor(whole / 1000)), nanos: (whole % 1000) * 1_000_000 };
  return create(RetryInfoSchema, { retryDelay });
}

/** Throws here rather than in a transport, where nobody catches. */
function encodable(desc: DescMessage, value: Message): Message {
  toBinary(desc, value);
  return value;
}
