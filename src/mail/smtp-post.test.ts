import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, test } from '@jest/globals';
import { type MailServer, type Moment, type Oddity, startMailServer } from '../../test/support/mail-server.ts';
import { CERTIFICATE } from '../rpc/tls.fixture.ts';
import type { Message, NotSent } from './post.ts';
import type { SmtpSettings } from './settings.ts';
import { smtpPost } from './smtp-post.ts';

const CA = String(CERTIFICATE.cert);
const FROM = 'Amrutam <no-reply@clinic.example>';
const message = (given: Partial<Message> = {}): Message => ({
  id: randomUUID(),
  to: { address: 'asha@example.test', name: 'Asha' },
  subject: 'Your appointment',
  text: 'Hello\n\n.a line that begins with a dot\n',
  ...given,
});

let server: MailServer;
afterEach(() => server.stop());

/** Nobody has to wait long for a server that says nothing; others have time enough on a busy machine. */
let silentMs = 10_000;
afterEach(() => {
  silentMs = 10_000;
});

function post(given: Partial<SmtpSettings> = {}, ca?: string) {
  const smtp: SmtpSettings = { host: '127.0.0.1', port: server.port, security: 'none', login: undefined, ...given };
  const timeouts = { greetingTimeout: silentMs, socketTimeout: silentMs };
  return smtpPost({ smtp, from: FROM, ca, timeouts });
}

/** Sends one; answers why not, undefined when it was taken on. */
async function send(given: Partial<SmtpSettings> = {}, ca?: string, mail = message()): Promise<NotSent | undefined> {
  const way = post(given, ca);
  try {
    return await way.send(mail, AbortSignal.timeout(30_000)).then(
      () => undefined,
      (error: NotSent) => error,
    );
  } finally {
    way.close();
  }
}

const behaving = async (at: Moment, oddity: Oddity) => {
  server = await startMailServer();
  server.behave((moment) => (moment === at ? oddity : undefined));
};

test('what arrives is what was sent, under a Message-ID that is the same each time, and says that no person wrote it', async () => {
  server = await startMailServer();
  const mail = message();
  await send({}, undefined, mail);
  await send({}, undefined, mail);
  expect(server.received).toHaveLength(2);
  for (const { from, to, source } of server.received) {
    expect([from, to]).toEqual(['no-reply@clinic.example', 'asha@example.test']);
    expect(source).toContain(`\nMessage-ID: <${mail.id}@clinic.example>\n`);
    expect(source).toMatch(/^(?:.+\n)*Auto-Submitted: auto-generated\n/);
    expect(source).toContain('To: Asha <asha@example.test>\n');
    expect(source).toContain('\n\nHello\n\n.a line that begins with a dot\n');
    expect(source).not.toMatch(/x-mailer/i);
  }
});

test('many go over a few connections', async () => {
  server = await startMailServer();
  const way = post();
  await Promise.all(Array.from({ length: 40 }, () => way.send(message(), AbortSignal.timeout(30_000))));
  way.close();
  expect(server.received).toHaveLength(40);
  expect(server.connections()).toBe(4);
});

test.each([
  'Asha\r\nBcc: everybody@example.test',
  'Asha\nSubject: You have won\n\nClick here',
  'Asha" <other@example.test>, "x',
  'Asha <other@example.test>',
  'Äsha\u2028Bcc: everybody@example.test',
])('a display name is a name, whatever it holds: %j', async (name) => {
  server = await startMailServer();
  expect(await send({}, undefined, message({ to: { address: 'asha@example.test', name } }))).toBeUndefined();
  const [{ to, source } = { to: '', source: '' }] = server.received;
  const [head = ''] = source.split('\n\n');
  const headers = head.replace(/\n[ \t]+/g, ' ').split('\n');
  expect(to).toBe('asha@example.test');
  expect(headers.map((line) => line.split(':')[0]).sort()).toEqual(
    [
      'Auto-Submitted',
      'Content-Transfer-Encoding',
      'Content-Type',
      'Date',
      'From',
      'MIME-Version',
      'Message-ID',
      'Subject',
      'To',
    ].sort(),
  );
  expect(headers.find((line) => line.startsWith('To:'))).toMatch(/ <asha@example\.test>$/);
});

describe('encryption', () => {
  const SECURE = { host: 'localhost' };

  test.each(['tls', 'starttls'] as const)(
    '%s, by a certificate that is trusted, and then the password',
    async (security) => {
      server = await startMailServer({ security, certificate: CERTIFICATE, login: 'user:a secret' });
      const login = { user: 'user', password: 'a secret' };
      expect(await send({ ...SECURE, security, login }, CA)).toBeUndefined();
      expect(server.received).toMatchObject([{ encrypted: true, login: 'user:a secret' }]);
    },
  );

  test.each(['tls', 'starttls'] as const)(
    '%s, by a certificate that nobody trusts: nothing is said',
    async (security) => {
      server = await startMailServer({ security, certificate: CERTIFICATE, login: 'user:a secret' });
      const asked: string[] = [];
      server.behave((moment) => void asked.push(moment));
      const failure = await send({ ...SECURE, security, login: { user: 'user', password: 'a secret' } });
      expect(failure).toMatchObject({
        forGood: false,
        ofThisMail: false,
        message: expect.stringMatching(/certificate/),
      });
      expect(asked).not.toContain('AUTH');
      expect(server.received).toEqual([]);
    },
  );

  test.each(['tls', 'starttls'] as const)('%s, by a certificate of another name: nothing is said', async (security) => {
    server = await startMailServer({ security, certificate: CERTIFICATE });
    // 127.0.0.2 is the same machine, and not in the certificate.
    expect(await send({ security, host: '127.0.0.2' }, CA)).toMatchObject({ ofThisMail: false });
    expect(server.received).toEqual([]);
  });

  test('a server that has no STARTTLS, or whose offer somebody has taken away, gets nothing', async () => {
    server = await startMailServer({ security: 'none', login: 'user:a secret' });
    const asked: string[] = [];
    server.behave((moment) => void asked.push(moment));
    const login = { user: 'user', password: 'a secret' };
    expect(await send({ ...SECURE, security: 'starttls', login })).toMatchObject({ forGood: false, ofThisMail: false });
    expect(asked).not.toContain('AUTH');
    expect(asked).not.toContain('MAIL');
  });
});

describe('refused or lost, and whether another try, or another mail, may fare better', () => {
  test.each<[Moment, Oddity, { forGood: boolean; ofThisMail: boolean }]>([
    ['CONNECT', '554 go away', { forGood: false, ofThisMail: false }],
    ['CONNECT', 'close', { forGood: false, ofThisMail: false }],
    ['EHLO', 'close', { forGood: false, ofThisMail: false }],
    ['MAIL', '550 not from you', { forGood: false, ofThisMail: false }],
    ['MAIL', '451 later', { forGood: false, ofThisMail: false }],
    ['RCPT', '450 4.2.0 greylisted', { forGood: false, ofThisMail: true }],
    ['RCPT', '550 5.1.1 no asha@example.test here', { forGood: true, ofThisMail: true }],
    ['RCPT', 'close', { forGood: false, ofThisMail: false }],
    ['DATA', '451 later', { forGood: false, ofThisMail: true }],
    ['DATA', 'close', { forGood: false, ofThisMail: false }],
    ['END', '554 spam', { forGood: true, ofThisMail: true }],
    ['END', '452 no room', { forGood: false, ofThisMail: true }],
    ['END', 'close', { forGood: false, ofThisMail: false }],
  ])('%s: %s', async (moment, oddity, verdict) => {
    await behaving(moment, oddity);
    const failure = await send();
    expect(failure).toMatchObject(verdict);
    expect(failure?.message).not.toContain('asha');
    expect(server.received).toEqual([]);
  });

  test('a wrong password is no fault of the mail', async () => {
    server = await startMailServer({ login: 'user:a secret' });
    const failure = await send({ login: { user: 'user', password: 'another' } });
    expect(failure).toMatchObject({ forGood: false, ofThisMail: false });
    expect(failure?.message).not.toContain('another');
  });

  test('nobody listens', async () => {
    server = await startMailServer();
    await server.stop();
    expect(await send()).toMatchObject({ forGood: false, ofThisMail: false });
  });

  test.each<Moment>(['CONNECT', 'EHLO', 'RCPT', 'END'])(
    'a server that says nothing any more at %s is given up',
    async (moment) => {
      silentMs = 1_000;
      await behaving(moment, 'hang');
      expect(await send()).toMatchObject({ forGood: false, ofThisMail: false });
    },
  );

  test('whoever stops waits no longer', async () => {
    await behaving('END', 'hang');
    const way = post();
    const stop = new AbortController();
    const sending = way.send(message(), stop.signal);
    server.behave((moment) => {
      if (moment === 'END') stop.abort();
      return moment === 'END' ? 'hang' : undefined;
    });
    await expect(sending).rejects.toMatchObject({ ofThisMail: false });
    way.close();
  });
});
