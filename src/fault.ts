import type { DescMessage } from '@bufbuild/protobuf';
import type { Reason as ReasonEnum } from '../gen/amrutam/error/v1/reason_pb.ts';

/** Name of an amrutam.error.v1.Reason without its prefix, such as `SLOT_TAKEN`. */
export type Reason = Exclude<keyof typeof ReasonEnum, 'UNSPECIFIED'>;

/** One broken rule of a request: the field's path in proto names, what is wrong in words, and the rule's name. */
export interface Violation {
  readonly field: string;
  readonly description: string;
  readonly rule: string;
}

/** A protobuf message that travels with a refusal, as a message.ts makes it. */
export interface FaultDetail {
  readonly desc: DescMessage;
  readonly value: Record<string, unknown>;
}

/** What may travel with a refusal beside its reason. */
export interface FaultOptions {
  /** Facts for programs, such as the state that forbids it. Never patient data. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly violations?: readonly Violation[];
  readonly details?: readonly FaultDetail[];
  /** Milliseconds after which another try makes sense. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** A refusal with a machine-readable reason. `message` is for people and holds nothing private. */
export class Fault extends Error {
  override readonly name = 'Fault';
  readonly reason: Reason;
  readonly options: FaultOptions;

  constructor(reason: Reason, message: string, options: FaultOptions = {}) {
    const depth = Error.stackTraceLimit;
    // A refusal is no bug: nobody reads where it was thrown, and a trace costs more than the rest of it.
    Error.stackTraceLimit = 0;
    super(message, { cause: options.cause });
    Error.stackTraceLimit = depth;
    this.reason = reason;
    this.options = options;
  }
}

/** The refusal of a request of which one field breaks a rule that protovalidate can't express. */
export function fieldInvalid(field: string, description: string, rule: string): Fault {
  return new Fault('FIELD_INVALID', `${field}: ${description}`, { violations: [{ field, description, rule }] });
}
