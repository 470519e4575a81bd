import { randomUUID, randomUUIDv7 as uuid } from 'node:crypto';
import type { MikroORM } from '@mikro-orm/postgresql';
import { sql } from '../../src/db/sql.ts';
import { forkFor, rows } from '../../src/db/statement.ts';
import { registerJobs } from '../../src/jobs/lease.ts';
import { perform } from '../../src/jobs/perform.ts';
import { createLog } from '../../src/log.ts';
import { type Delivery, deliverMails } from '../../src/mail/deliver-mails.ts';
import type { TokenKind } from '../../src/mail/mail.entity.ts';
import { newMailToken } from '../../src/mail/mail-token.ts';
import { queueReminders } from '../../src/mail/queue-reminders.ts';
import { smtpPost } from '../../src/mail/smtp-post.ts';
import type { MailServer } from './mail-server.ts';

const LEASE_MS = 30_000;
/** Where links lead. */
export const SITE = 'https://clinic.example';

/** A token as if it had been sent. */
export async function sentToken({ orm }: { orm: MikroORM }, userId: string, kind: TokenKind): Promise<string> {
  const [{ token, hash }, id] = [newMailToken(), uuid()];
  await rows(
    forkFor(orm),
    sql`INSERT INTO mail (id, kind, user_id, state, attempts, due_at, expires_at, created_at, ended_at)
        VALUES (${id}, ${kind}, ${userId}, 'SENT', 1, now(), now(), now(), now())`,
  );
  await rows(forkFor(orm), sql`INSERT INTO mail_token VALUES (${hash}, ${id}, now() + interval '30 minutes')`);
  return token;
}

/** Mails by hand: each call is a run of the background job that sends them to a test's server. */
export interface Postman {
  /** Answers how many mails it has seen to. */
  deliver(): Promise<number>;
  /** Makes the reminders that are due; answers how many. */
  remind(): Promise<number>;
  /** What became of mails, in order, such as `REMINDER sent`. */
  readonly counted: string[];
  readonly logged: string[];
}

/** `silentMs`: after which a server that says nothing is given up. */
export async function postman(
  orm: MikroORM,
  server: MailServer,
  { silentMs }: { silentMs?: number } = {},
): Promise<Postman> {
  const [counted, logged]: [string[], string[]] = [[], []];
  const smtp = { host: '127.0.0.1', port: server.port, security: 'none', login: undefined } as const;
  const timeouts = silentMs ? { socketTimeout: silentMs } : {};
  const delivery: Delivery = {
    orm,
    openPost: () => smtpPost({ smtp, from: 'Amrutam <no-reply@clinic.example>', timeouts }),
    publicUrl: SITE,
    log: createLog('debug', { write: (line: string) => void logged.push(line) }),
    count: (kind, result) => void counted.push(`${kind} ${result}`),
  };
  const jobs = { deliver: deliverMails(delivery), remind: queueReminders };
  await registerJobs(
    orm,
    Object.values(jobs).map(({ name }) => name),
  );
  const run = async (job: keyof typeof jobs) => {
    const { signal } = new AbortController();
    return (await perform(jobs[job], { orm, holder: randomUUID(), leaseMs: LEASE_MS, signal })).changed;
  };
  return { deliver: () => run('deliver'), remind: () => run('remind'), counted, logged };
}

/** What a reader of a mail sees: its headers unfolded, its text decoded. */
export function readMail(source: string): { headers: string; text: string; token: string | undefined } {
  const at = source.indexOf('\n\n');
  const headers = source.slice(0, at).replace(/\n[ \t]+/g, ' ');
  const body = source.slice(at + 2);
  const text = /^Content-Transfer-Encoding: quoted-printable$/im.test(headers)
    ? Buffer.from(
        body
          .replace(/=\n/g, '')
          .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
        'latin1',
      ).toString()
    : body;
  return { headers, text, token: /^ {2}([\w-]{43})$/m.exec(text)?.[1] };
}
