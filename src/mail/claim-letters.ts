import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { rows } from '../db/statement.ts';
import type { Letter } from './letter.ts';
import { type MailKind, type MailState, TOKEN_LIFE_MS } from './mail.entity.ts';
import { newMailToken } from './mail-token.ts';

/** Mails whose time has come. */
export interface Claimed {
  /** To be sent now. Nobody else sends them for the next minute. */
  readonly letters: readonly Letter[];
  /** Kinds of those that are over without having been sent: too late, or not wanted any more. */
  readonly ended: Readonly<Record<'FAILED' | 'DROPPED', readonly MailKind[]>>;
}

interface Found {
  readonly id: string;
  readonly kind: MailKind;
  readonly attempts: number;
  readonly late: boolean;
  readonly wanted: boolean;
  readonly email: string;
  readonly display_name: string;
  readonly time_zone: string;
  readonly start_at: Date | null;
  readonly doctor_name: string | null;
}

/**
 * Takes at most `count` mails that are due, reminders last. Each counts as tried, and is due again after 1, 2, 4 … minutes, at most 15:
 * what becomes of the try needn't be known. Looks whether they are still wanted, and gives the others up. Tokens are made here, of which only
 * the hash is kept; those of earlier tries stay valid, because their mail may have arrived.
 */
export async function claimLetters(em: EntityManager, count: number): Promise<Claimed> {
  const found = await rows<Found>(em, claiming(count));
  const [late, inTime] = split(found, ({ late }) => late);
  const [wanted, unwanted] = split(inTime, ({ wanted }) => wanted);
  await endMails(em, late, 'FAILED');
  await endMails(em, unwanted, 'DROPPED');
  const letters = wanted.map(letterOf);
  await keepTokens(em, letters);
  return {
    letters: letters.map(({ letter }) => letter),
    ended: { FAILED: late.map(({ kind }) => kind), DROPPED: unwanted.map(({ kind }) => kind) },
  };
}

/** A reminder is for whoever has shown that the address is theirs, of an appointment that is still to come at that time. */
function claiming(count: number) {
  return sql`WITH due AS MATERIALIZED (
      SELECT id FROM mail WHERE state = 'QUEUED' AND due_at <= now()
      ORDER BY kind = 'REMINDER', due_at LIMIT ${count} FOR UPDATE SKIP LOCKED),
    claimed AS (
      UPDATE mail SET attempts = attempts + 1, due_at = now() + least(2 ^ least(attempts, 4), 15) * interval '1 minute'
      FROM due WHERE mail.id = due.id RETURNING mail.*)
    SELECT claimed.id, claimed.kind, claimed.attempts, claimed.expires_at <= now() AS late, claimed.start_at,
      u.email, u.display_name, u.time_zone, doctor.display_name AS doctor_name,
      u.state = 'ACTIVE' AND CASE claimed.kind
        WHEN 'VERIFICATION' THEN u.email_verified_at IS NULL
        WHEN 'REMINDER' THEN u.email_verified_at IS NOT NULL AND b.state IN ('CONFIRMED', 'CHECKED_IN') AND b.start_at = claimed.start_at
        ELSE TRUE END AS wanted
    FROM claimed JOIN app_user u ON u.id = claimed.user_id
      LEFT JOIN booking b ON b.id = claimed.booking_id LEFT JOIN app_user doctor ON doctor.id = b.doctor_id`;
}

function letterOf({ id, kind, attempts, email, display_name, time_zone, start_at, doctor_name }: Found) {
  const made = kind === 'REMINDER' ? undefined : newMailToken();
  const appointment = start_at ? { startAt: start_at, timeZone: time_zone, doctorName: doctor_name ?? '' } : undefined;
  const letter: Letter = {
    id,
    kind,
    attempts,
    address: email,
    displayName: display_name,
    token: made?.token,
    appointment,
  };
  return { letter, hash: made?.hash, lifeMs: kind === 'REMINDER' ? 0 : TOKEN_LIFE_MS[kind] };
}

async function keepTokens(em: EntityManager, made: readonly ReturnType<typeof letterOf>[]): Promise<void> {
  const kept = made.filter(({ hash }) => hash !== undefined);
  if (kept.length === 0) return;
  await rows(
    em,
    sql`INSERT INTO mail_token (token_hash, mail_id, expires_at)
        SELECT hash, mail_id, now() + life * interval '1 millisecond' FROM unnest(
          ${kept.map(({ hash }) => hash)}::bytea[], ${kept.map(({ letter }) => letter.id)}::uuid[], ${kept.map(({ lifeMs }) => lifeMs)}::integer[])
          AS made (hash, mail_id, life)`,
  );
}

/** Mails that are over: those that still waited. */
export async function endMails(
  em: EntityManager,
  mails: readonly { readonly id: string }[],
  state: Exclude<MailState, 'QUEUED'>,
): Promise<void> {
  if (mails.length === 0) return;
  await rows(
    em,
    sql`UPDATE mail SET state = ${state}, ended_at = now() WHERE id = ANY (${mails.map(({ id }) => id)}::uuid[]) AND state = 'QUEUED'`,
  );
}

function split<T>(all: readonly T[], is: (one: T) => boolean): [T[], T[]] {
  return [all.filter(is), all.filter((one) => !is(one))];
}
