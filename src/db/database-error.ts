import { Fault, type Reason } from '../fault.ts';

/** What a violated constraint means to a caller. Any other violation is a bug of ours. */
const CONSTRAINTS: Readonly<Record<string, readonly [Reason, string]>> = {
  app_user_email: ['EMAIL_TAKEN', 'an account with this e-mail address exists'],
  slot_never_overlaps: ['SLOT_OVERLAP', 'the slot overlaps another slot of the doctor'],
  schedule_exception_one_a_date: ['EXCEPTION_EXISTS', 'the date has an exception already'],
  booking_one_per_slot: ['SLOT_TAKEN', 'the slot is taken'],
  booking_patient_in_one_place: ['PATIENT_BUSY', 'the patient has another appointment at that time'],
};

/** SQLSTATEs of a server that goes, has gone or became read-only (25006: the old leader after a failover). */
const GONE = /^(57P0[1-5]|08...|25006|25P03|58...)$/;
const SOCKET = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN|ENOENT)/;
const SOCKET_TEXT =
  /Connection terminated|connection is closed|not queryable|has been discarded|Client was closed|timeout expired|read timeout|server closed the connection/i;

/** What callers are told of a change of which nobody knows whether it lasts. */
export const NOT_CONFIRMED = 'whether the change was made is not certain: ask again with the same request_id';

interface DriverError {
  readonly code?: string;
  readonly constraint?: string;
  readonly where?: string;
  readonly routine?: string;
  readonly message?: string;
}

/** Whether the transaction lost against another one, or its statements were kept in vain: it may win when it starts over. */
export function isRetryable(error: unknown): boolean {
  return (
    ['40P01', '40001'].includes((error as DriverError)?.code ?? '') || isOutdatedPlan(error) || isUnknownPlan(error)
  );
}

/** Whether the schema has changed under a statement that the connection keeps prepared. */
export function isOutdatedPlan(error: unknown): boolean {
  const { code, routine } = (error ?? {}) as DriverError;
  return code === '0A000' && routine === 'RevalidateCachedQuery';
}

/** Whether a pooler before the server has given us another connection than the one that keeps the statement. */
export function isUnknownPlan(error: unknown): boolean {
  return ['26000', '42P05'].includes((error as DriverError)?.code ?? '');
}

/** Whether a statement broke one of the constraints that stand for a refusal. */
export function isViolation(error: unknown): boolean {
  const { code, constraint } = (error ?? {}) as DriverError;
  return (code === '23505' || code === '23P01') && Object.hasOwn(CONSTRAINTS, constraint ?? '');
}

/** Whether the connection is of no more use: it is broken, or its server is going or became read-only. */
export function isGone(error: unknown): boolean {
  const { code = '', message = '' } = (error ?? {}) as DriverError;
  return GONE.test(code) || SOCKET.test(code) || SOCKET_TEXT.test(message);
}

/**
 * Whether a warning says that a change is on this server and perhaps on no standby, for which it was to wait: somebody has
 * cancelled the wait. The server's answer is that of a change that was done. (The words are in the server's language, and the
 * SQLSTATE is 01000 as for others; this routine warns of nothing else.)
 */
export function isUnconfirmed(warning: unknown): boolean {
  return (warning as DriverError)?.routine === 'SyncRepWaitForLSN';
}

/** A change that may be lost with the server that has made it. */
export class Unconfirmed extends Error {
  /** SQLSTATE: statement_completion_unknown. */
  readonly code = '40003';

  constructor() {
    super('the wait for a synchronous standby was cancelled: the change may be on one server only');
  }
}

/** Whether COMMIT was refused for certain; anything else that breaks it leaves the outcome unknown. */
export function isDefinite(error: unknown): boolean {
  const { code } = (error ?? {}) as DriverError;
  if ((error as Error)?.name === 'AbortedTransactionError') return true; // COMMIT of a failed transaction answers ROLLBACK
  // 40003 says itself that it doesn't know; XX… is the server's own bug; EPIPE only looks like a SQLSTATE.
  return (
    code !== undefined &&
    /^[0-9A-Z]{5}$/.test(code) &&
    !GONE.test(code) &&
    !/^(40003|XX)/.test(code) &&
    !SOCKET.test(code)
  );
}

/** The refusal that an error of the driver or the pool stands for; other errors come back as they are. */
export function toFault(error: unknown): unknown {
  const { code = '', constraint = '', where = '', message = '' } = (error ?? {}) as DriverError;
  const violated = CONSTRAINTS[constraint];
  if (violated && isViolation(error)) return new Fault(violated[0], violated[1], { cause: error });
  if (message.includes('timeout exceeded when trying to connect'))
    return fault('OVERLOADED', 'no database connection became free in time', error);
  if (error instanceof Unconfirmed) return fault('OUTCOME_UNKNOWN', NOT_CONFIRMED, error);
  if (isGone(error)) return fault('DATABASE_DOWN', 'the database does not answer', error);
  if (code === '55P03') {
    return where.includes('idempotency')
      ? fault('IN_PROGRESS', 'the same request is still running', error)
      : fault('CONTENTION', 'another call holds the same records', error);
  }
  if (isRetryable(error)) return fault('CONTENTION', 'other calls for the same records kept winning', error);
  if (code === '57014') return fault('OVERLOADED', 'the database took too long', error);
  if (/^53/.test(code)) return fault('OVERLOADED', 'the database has no room', error);
  return error;
}

function fault(reason: Reason, message: string, cause: unknown): Fault {
  return new Fault(reason, message, { cause });
}
