import { randomUUIDv7 as uuid } from 'node:crypto';
import { defineEntity, p } from '@mikro-orm/postgresql';

/** What a mail is for. */
export type MailKind = 'VERIFICATION' | 'PASSWORD_RESET' | 'REMINDER';

/** Kinds that bring a token. */
export type TokenKind = Exclude<MailKind, 'REMINDER'>;

/** FAILED: given up, refused for good or out of time. DROPPED: not wanted any more. */
export type MailState = 'QUEUED' | 'SENT' | 'FAILED' | 'DROPPED';

export const MailSchema = defineEntity({
  name: 'Mail',
  tableName: 'mail',
  properties: {
    id: p.uuid().primary(),
    kind: p.text().$type<MailKind>(),
    /** To whom. */
    userId: p.uuid(),
    /** The appointment of a reminder, and when it began as the reminder was made. */
    bookingId: p.uuid().nullable(),
    startAt: p.datetime().nullable(),
    state: p.text().$type<MailState>(),
    /** Tries at sending it that have begun. */
    attempts: p.integer(),
    /** Of the next try. */
    dueAt: p.datetime(),
    /** After which it is of no use. */
    expiresAt: p.datetime(),
    createdAt: p.datetime(),
    endedAt: p.datetime().nullable(),
  },
});

const MINUTE_MS = 60_000;

/** For how long a token is valid from when it is sent, and for how long sending it is tried. */
export const TOKEN_LIFE_MS: Readonly<Record<TokenKind, number>> = {
  VERIFICATION: 24 * 60 * MINUTE_MS,
  PASSWORD_RESET: 30 * MINUTE_MS,
};

/**
 * A mail to somebody: one row from when it is wanted until a month later. Reminders are made in numbers, by
 * queue-reminders.ts, and states moved likewise, by deliver-mails.ts.
 */
export class Mail extends MailSchema.class {
  /** One with a token, to be sent at once. */
  static withToken(kind: TokenKind, userId: string, now: Date): Mail {
    return Object.assign(new Mail(), {
      id: uuid(),
      kind,
      userId,
      bookingId: null,
      startAt: null,
      state: 'QUEUED',
      attempts: 0,
      dueAt: now,
      expiresAt: new Date(now.getTime() + TOKEN_LIFE_MS[kind]),
      createdAt: now,
      endedAt: null,
    });
  }
}
MailSchema.setClass(Mail);
