import type { EntityManager } from '@mikro-orm/postgresql';
import { queueJob } from '../db/queue-job.ts';

/** The background job that sends mails. */
export const DELIVERY = 'deliver-mails';

/** Has mails delivered as soon as the transaction of `em` is committed, by whichever instance comes first. */
export function wakeDelivery(em: EntityManager): Promise<void> {
  return queueJob(em, DELIVERY);
}
