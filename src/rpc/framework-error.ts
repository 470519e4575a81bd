import { Code, ConnectError } from '@connectrpc/connect';
import { Fault, fieldInvalid } from '../fault.ts';
import { NOT_PLAIN } from './plain-data.ts';

/** How connect names bytes that it can't read, where it blames itself with INTERNAL. */
const UNREADABLE = /^(parse binary|received compressed|received parsed|decompression failed|protocol error)/;

/** What a ConnectError that no handler of ours made means: a Fault, or an answer without a reason; INTERNAL stays itself. */
export function faultOfFramework(error: ConnectError): Fault | ConnectError | undefined {
  switch (error.code) {
    case Code.ResourceExhausted:
      return tooLarge();
    case Code.InvalidArgument:
      return malformed(error);
    case Code.DeadlineExceeded:
      return outOfTime();
    case Code.Canceled:
    case Code.Aborted:
      return cancelled();
    case Code.Unimplemented:
      return new ConnectError(error.rawMessage.toWellFormed(), Code.Unimplemented, error.metadata);
    default:
      return UNREADABLE.test(error.rawMessage) ? malformed(error) : undefined;
  }
}

/** As faultOfFramework, of what was refused before any code of ours ran: whatever it is, the request can't be read. */
export function faultOfUnread(error: unknown): Fault | ConnectError {
  if (error instanceof Fault) return error;
  return (error instanceof ConnectError && faultOfFramework(error)) || malformed(error);
}

/** Why the signal of a call has aborted. */
export function faultOfAbort({ reason }: AbortSignal): Fault | ConnectError {
  if (reason instanceof Fault) return reason;
  return (reason instanceof ConnectError && faultOfFramework(reason)) || cancelled();
}

/** The request is over the limit. */
export function tooLarge(): Fault {
  return new Fault('MESSAGE_TOO_LARGE', 'the request is too large');
}

/** The deadline has passed. */
export function outOfTime(): Fault {
  return new Fault('DEADLINE_EXCEEDED', 'the deadline passed before the call was done');
}

/** The caller is gone; nobody reads this but the log. */
export function cancelled(): ConnectError {
  return new ConnectError('the caller cancelled', Code.Canceled);
}

/** The request can't be read. Says which field if that is known; never what was in it, as messages of parsers do. */
export function malformed(error?: unknown): Fault {
  const [, path = '', problem = ''] = /\bfield ([\w.]+) from JSON: (.*)/s.exec(messageOf(error)) ?? [];
  const field = path.slice(path.lastIndexOf('.') + 1);
  // A lone surrogate: text of the right type that is no text.
  if (problem.endsWith('invalid UTF8')) return fieldInvalid(field, NOT_PLAIN.description, NOT_PLAIN.rule);
  return new Fault('MESSAGE_MALFORMED', `the request is malformed${field && ` at ${field}`}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : '';
}
