/** What an account may be, as tokens and tables say it. */
export type RoleName = 'PATIENT' | 'DOCTOR' | 'ADMINISTRATOR';

/** Who calls, as the access token says. */
export interface Caller {
  readonly userId: string;
  readonly sessionId: string;
  readonly role: RoleName;
}

/** What is known of a call besides its message. */
export interface Call {
  /** Absent when the call came without a token. */
  readonly caller: Caller | undefined;
  /** The RPC's name, such as `BookSlot`. */
  readonly method: string;
  /** The request's id in logs and audit; echoed as `x-request-id`. */
  readonly traceId: string;
  /** The client's address; of the proxy's client behind a trusted proxy. */
  readonly clientAddress: string;
  /** The user-agent header, at most 200 characters; may be empty. */
  readonly userAgent: string;
  /** Aborts at the deadline and when the client goes away. */
  readonly signal: AbortSignal;
}
