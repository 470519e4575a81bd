import { ConfigError, type Environment, optional, type Reader, secret, wrong } from '../variables.ts';

/** How mails are sent. */
export interface MailSettings {
  /** Absent: they go to the log of this process instead. */
  readonly smtp: SmtpSettings | undefined;
  /** `Name <address>`, or an address alone. */
  readonly from: string;
  /** Where links lead, without a slash at the end; absent: there are none. */
  readonly publicUrl: string | undefined;
}

/** The server that takes mails on. */
export interface SmtpSettings {
  readonly host: string;
  readonly port: number;
  /** `tls`: from the first byte; `starttls`: before anything is said; `none`: never. */
  readonly security: 'tls' | 'starttls' | 'none';
  readonly login: { readonly user: string; readonly password: string } | undefined;
}

const SMTP_LOOKS = 'smtp://user:password@host:587 (STARTTLS) or smtps://user:password@host:465';
const PORTS: Readonly<Record<string, number>> = { 'smtp:': 587, 'smtps:': 465 };

/** What the environment says of mails; undefined: none are sent. With the embedded database they may go to the log. Throws ConfigError. */
export function mailOf(env: Environment, { embedded }: { embedded: boolean }): MailSettings | undefined {
  const smtp = secret(env, 'SMTP_URL', smtpUrl);
  const from = optional(env, 'MAIL_FROM', sender);
  const publicUrl = optional(env, 'PUBLIC_URL', siteUrl);
  if (smtp && !from)
    throw new ConfigError(
      'MAIL_FROM is missing: with SMTP_URL the sender must be given, in a form such as Amrutam <no-reply@clinic.example>',
    );
  if (!smtp && !embedded) return undefined;
  return { smtp, from: from ?? 'Amrutam <no-reply@localhost>', publicUrl };
}

/** Whether this is an address of the same machine. */
function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/i.test(host);
}

const smtpUrl: Reader<SmtpSettings> = (value, name) => {
  // The value holds a password and is not shown.
  const unlike = (why: string) => new ConfigError(`${name} ${why}: it must look like ${SMTP_LOOKS}`);
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const standard = PORTS[url?.protocol ?? ''];
  if (!url?.hostname || !standard) throw unlike('is not a URL of a mail server that can be read');
  if (!/^\/?$/.test(url.pathname) || url.hash || !/^(?:\?tls=off)?$/.test(url.search))
    throw unlike('has something behind the host and the port, of which only ?tls=off is known');
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const [user, password] = [url.username, url.password].map((part) => decoded(part, unlike));
  if (!user !== !password) throw unlike(`has a ${user ? 'user but no password' : 'password but no user'}`);
  const off = url.search !== '';
  if (off && standard === PORTS['smtps:'])
    throw unlike('says both smtps:// and ?tls=off, of which one must be left out');
  if (off && password && !isLoopback(host))
    throw unlike('has a password and ?tls=off, so that anybody on the way could read it');
  return {
    host,
    port: url.port === '' ? standard : Number(url.port),
    security: standard === PORTS['smtps:'] ? 'tls' : off || isLoopback(host) ? 'none' : 'starttls',
    login: user && password ? { user, password } : undefined,
  };
};

function decoded(part: string, unlike: (why: string) => Error): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw unlike('has a user or password in which a % is not followed by two hex digits (a % itself is %25)');
  }
}

const sender: Reader<string> = (value, name) => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly those are kept out
  if (!/^(?:[^<>"@,;:\\\x00-\x1f\x7f]+ <[^<>\s@,;:]+@[^<>\s@,;:]+>|[^<>\s@,;:"]+@[^<>\s@,;:"]+)$/.test(value))
    throw wrong(name, value, 'one address, such as no-reply@clinic.example or Amrutam <no-reply@clinic.example>');
  return value;
};

const siteUrl: Reader<string> = (value, name) => {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const safe =
    url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.hostname.replace(/[[\]]/g, '')));
  if (!url || !safe || url.username || url.password || url.search || url.hash)
    throw wrong(
      name,
      value,
      'the https:// address of the site that people use, such as https://clinic.example, without ? or # (http:// for this machine only)',
    );
  return url.href.replace(/\/+$/, '');
};
