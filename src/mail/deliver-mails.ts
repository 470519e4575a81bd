import type { MikroORM } from '@mikro-orm/postgresql';
import { inTransaction } from '../db/transaction.ts';
import type { Job, Step } from '../jobs/job.ts';
import type { Logger } from '../log.ts';
import { claimLetters, endMails } from './claim-letters.ts';
import { composeMessage } from './compose-message.ts';
import type { Letter } from './letter.ts';
import type { MailKind } from './mail.entity.ts';
import { NotSent, type Post } from './post.ts';
import { DELIVERY, wakeDelivery } from './wake-delivery.ts';

/**
 * What became of a try: sent; put off, because the server said so of this mail; or unreachable, because the server takes none. Or of a
 * mail that is not tried any more: failed, refused for good or too late; dropped, not wanted any more.
 */
export type MailResult = 'sent' | 'deferred' | 'unreachable' | 'failed' | 'dropped';

export interface Delivery {
  readonly orm: MikroORM;
  readonly openPost: () => Post;
  readonly publicUrl: string | undefined;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  readonly count: (kind: MailKind, result: MailResult) => void;
}

/** Mails that are tried together. */
const BATCH = 20;
/** Milliseconds for such: below the lease of the job and the minute after which a mail may be tried again. */
const BATCH_MS = 20_000;
/** Milliseconds after which other jobs get their turn; then this one goes on. */
const TURN_MS = 20_000;
/** Milliseconds to put on record that a mail was sent. */
const RECORD_MS = 5_000;
const HOUR_MS = 3_600_000;

/**
 * Sends the mails that are due, each at least once: who is killed after the server has taken a mail on, and before that is on
 * record, has it sent again, with the same Message-ID. When the server is away the rest waits for the next minute.
 */
export function deliverMails(delivery: Delivery): Job {
  return {
    name: DELIVERY,
    schedule: '* * * * *',
    overdueMs: HOUR_MS,
    async run(step) {
      const post = delivery.openPost();
      try {
        return await deliverAll(delivery, post, step);
      } finally {
        post.close();
      }
    },
  };
}

async function deliverAll(delivery: Delivery, post: Post, step: Step): Promise<number> {
  const endsAt = performance.now() + TURN_MS;
  for (let done = 0; ; ) {
    const { letters, ended } = await step((em) => claimLetters(em, BATCH));
    for (const kind of ended.FAILED) delivery.count(kind, 'failed');
    for (const kind of ended.DROPPED) delivery.count(kind, 'dropped');
    const claimed = letters.length + ended.FAILED.length + ended.DROPPED.length;
    done += claimed;
    const signal = AbortSignal.timeout(BATCH_MS);
    const outcomes = await Promise.all(letters.map((letter) => deliver(delivery, post, { letter, signal })));
    if (claimed < BATCH || outcomes.includes('server')) return done;
    if (performance.now() > endsAt) {
      await step(wakeDelivery);
      return done;
    }
  }
}

/** Tries one. Answers `server` when others won't fare better. */
async function deliver(
  { orm, publicUrl, log, count }: Delivery,
  post: Post,
  { letter, signal }: { letter: Letter; signal: AbortSignal },
): Promise<'over' | 'server'> {
  const { id, kind, attempts: attempt } = letter;
  const told = { mail: id, kind, attempt };
  // Not as a step: what has happened is true whoever holds the lease by now, and also when this process is told to stop.
  const record = (state: 'SENT' | 'FAILED') =>
    inTransaction(orm, AbortSignal.timeout(RECORD_MS), (em) => endMails(em, [letter], state));
  try {
    await post.send(composeMessage(letter, publicUrl), signal);
    log.info(told, 'a mail was sent');
    count(kind, 'sent');
    await record('SENT').catch((err) =>
      log.warn({ ...told, err }, 'that a mail was sent could not be put on record: it will be sent again'),
    );
    return 'over';
  } catch (error) {
    const failure =
      error instanceof NotSent ? error : new NotSent('it could not be made', { cause: error, ofThisMail: true });
    const { forGood, ofThisMail } = failure;
    log.warn(
      { ...told, err: failure },
      forGood ? 'a mail was refused for good' : 'a mail was not sent: it will be tried again',
    );
    count(kind, forGood ? 'failed' : ofThisMail ? 'deferred' : 'unreachable');
    if (forGood) await record('FAILED').catch(() => {}); // refused again, then
    return ofThisMail ? 'over' : 'server';
  }
}
