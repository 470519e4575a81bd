import { createTransport } from 'nodemailer';
import { NotSent, type Post } from './post.ts';
import type { MailSettings, SmtpSettings } from './settings.ts';

/** Milliseconds: for a connection, for the server's first words, and without a sign of life after that. */
const TIMEOUTS = { dnsTimeout: 5_000, connectionTimeout: 5_000, greetingTimeout: 5_000, socketTimeout: 10_000 };
/** Connections at once: mails go out one after the other on each. */
const CONNECTIONS = 4;

/** For tests: `ca`, certificates that are trusted instead of the system's, and other time-outs. */
export interface SmtpOptions extends Pick<MailSettings, 'from'> {
  readonly smtp: SmtpSettings;
  readonly ca?: string | undefined;
  readonly timeouts?: Partial<typeof TIMEOUTS>;
}

/** A way to the SMTP server; connects when there is something to send. */
export function smtpPost({ smtp, from, ca, timeouts }: SmtpOptions): Post {
  const { host, port, security, login } = smtp;
  const domain = /@([^>]+)/.exec(from)?.[1] ?? 'localhost';
  const transport = createTransport({
    ...TIMEOUTS,
    ...timeouts,
    pool: true,
    maxConnections: CONNECTIONS,
    maxRequeues: 0, // whether to try again is decided elsewhere
    host,
    port,
    secure: security === 'tls',
    requireTLS: security === 'starttls',
    ignoreTLS: security === 'none',
    ...(ca !== undefined && { tls: { ca } }),
    ...(login && { auth: { user: login.user, pass: login.password }, forceAuth: true }),
    disableFileAccess: true,
    disableUrlAccess: true,
    logger: false,
  });
  return {
    async send({ id, to, subject, text }, signal) {
      try {
        await transport.sendMail({
          from,
          to: { name: to.name ?? '', address: to.address },
          subject,
          text,
          messageId: `<${id}@${domain}>`,
          headers: { 'Auto-Submitted': 'auto-generated' },
          xMailer: false,
          signal,
        });
      } catch (error) {
        throw notSent(error as SmtpError);
      }
    },
    close: () => transport.close(),
  };
}

interface SmtpError extends Error {
  readonly code?: string;
  readonly command?: string;
  readonly response?: string;
  readonly responseCode?: number;
}

/** The server's own words may quote the address, or the message: of them only the number is kept. */
function notSent({ code = 'no code', command = '', response, responseCode, message }: SmtpError): NotSent {
  // What the sender is refused for, or the log-in, others will be too.
  const ofThisMail = (code === 'EENVELOPE' || code === 'EMESSAGE') && command !== 'MAIL FROM';
  const forGood = ofThisMail && (responseCode === undefined ? command === 'API' : responseCode >= 500);
  const said = response === undefined && !ofThisMail ? message : responseCode;
  return new NotSent([code, command, said].filter(Boolean).join(' '), { forGood, ofThisMail });
}
