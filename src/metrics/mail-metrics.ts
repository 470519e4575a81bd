import { Counter, Gauge, type Registry } from 'prom-client';
import type { MailResult } from '../mail/deliver-mails.ts';
import type { MailKind } from '../mail/mail.entity.ts';
import type { MailFigures } from '../mail/mail-figures.ts';

/** What becomes of mails. */
export interface MailMetrics {
  /** This instance has tried one, or has given it up. */
  mailed(kind: MailKind, result: MailResult): void;
  /** Looks at what waits. */
  look(): Promise<void>;
}

const KINDS: readonly MailKind[] = ['VERIFICATION', 'PASSWORD_RESET', 'REMINDER'];
const RESULTS: readonly MailResult[] = ['sent', 'deferred', 'unreachable', 'failed', 'dropped'];

export function mailMetrics(registry: Registry, figures: () => Promise<MailFigures | undefined>): MailMetrics {
  const registers = [registry];
  const mails = new Counter({
    name: 'mails_total',
    help: 'Tries at sending a mail: sent, deferred (the server said later), unreachable (the server takes none); and mails not sent: failed (refused for good, or too late), dropped (not wanted any more).',
    labelNames: ['kind', 'result'],
    registers,
  });
  const labelsOf = (kind: MailKind, result: MailResult) => ({ kind: kind.toLowerCase(), result });
  // Of a series that begins with more than zero rate() doesn't know the beginning.
  for (const kind of KINDS) for (const result of RESULTS) mails.inc(labelsOf(kind, result), 0);
  const queued = new Gauge({ name: 'mails_queued', help: 'Mails that wait to be sent, of all instances.', registers });
  const oldest = new Gauge({
    name: 'mail_oldest_queued_seconds',
    help: 'For how long the oldest of them has waited.',
    registers,
  });
  return {
    mailed: (kind, result) => mails.inc(labelsOf(kind, result)),
    async look() {
      const found = await figures();
      if (!found) for (const gauge of [queued, oldest]) gauge.remove();
      else {
        queued.set(found.queued);
        oldest.set(found.oldestSeconds);
      }
    },
  };
}
