import type { MailKind } from './mail.entity.ts';

/** What a mail is made of when it is sent. */
export interface Letter {
  readonly id: string;
  readonly kind: MailKind;
  /** Tries, this one included. */
  readonly attempts: number;
  readonly address: string;
  /** What the user is called, as they say themselves; one line. */
  readonly displayName: string;
  /** Absent in a reminder. */
  readonly token?: string | undefined;
  /** Of a reminder. */
  readonly appointment?: Appointment | undefined;
}

/** An appointment, as its patient is reminded of it. */
export interface Appointment {
  readonly startAt: Date;
  /** The patient's. */
  readonly timeZone: string;
  /** What the doctor is called; one line. */
  readonly doctorName: string;
}
