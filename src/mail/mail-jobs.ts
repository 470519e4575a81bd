import type { MikroORM } from '@mikro-orm/postgresql';
import type { Job } from '../jobs/job.ts';
import type { Logger } from '../log.ts';
import { type Delivery, deliverMails } from './deliver-mails.ts';
import { logPost } from './log-post.ts';
import { queueReminders } from './queue-reminders.ts';
import type { MailSettings } from './settings.ts';
import { smtpPost } from './smtp-post.ts';

/** What is done again and again where mails are sent. */
export function mailJobs(
  { smtp, from, publicUrl }: MailSettings,
  { orm, log, count }: { orm: MikroORM; log: Logger; count: Delivery['count'] },
): readonly Job[] {
  const openPost = () => (smtp ? smtpPost({ smtp, from }) : logPost(log));
  return [deliverMails({ orm, openPost, publicUrl, log, count }), queueReminders];
}
