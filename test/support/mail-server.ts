import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { createSecureContext, createServer as createTlsServer, TLSSocket } from 'node:tls';
import type { TlsPair } from '../../src/rpc/listener.ts';

/** A mail that a server was sent, as it came. */
export interface ReceivedMail {
  readonly from: string;
  readonly to: string;
  /** Headers and body, encoded as they were. */
  readonly source: string;
  readonly encrypted: boolean;
  /** Who has logged in: `user:password`. */
  readonly login: string | undefined;
}

/** A point of a conversation at which a server may do something odd: END is where a whole mail was sent, its argument. */
export type Moment = 'CONNECT' | 'EHLO' | 'STARTTLS' | 'AUTH' | 'MAIL' | 'RCPT' | 'DATA' | 'END';

/** What it does there instead: says something, says nothing ever again, hangs up, or (END) takes the mail and hangs up. */
export type Oddity = `${number} ${string}` | 'hang' | 'close' | 'take and close';

export type Behaviour = (moment: Moment, argument: string) => Oddity | undefined | Promise<Oddity | undefined>;

/** The receiving end of SMTP, for tests. */
export interface MailServer {
  readonly port: number;
  /** What was taken on, in order. */
  readonly received: readonly ReceivedMail[];
  /** How many connections there have been. */
  readonly connections: () => number;
  /** Decides what it does at each moment, perhaps after a while; undefined: what a server should. */
  behave(as: Behaviour): void;
  stop(): Promise<void>;
}

/** Listens on a free port of 127.0.0.1. `security` as in SmtpSettings; `login` is needed when it is given. */
export async function startMailServer({
  security = 'none',
  certificate,
  login,
}: {
  security?: 'none' | 'starttls' | 'tls';
  certificate?: TlsPair;
  login?: string;
} = {}): Promise<MailServer> {
  const received: ReceivedMail[] = [];
  const open = new Set<Socket>();
  let behaviour: Behaviour = () => undefined;
  let connections = 0;
  const talk = (socket: Socket) => {
    connections += 1;
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    const behave: Behaviour = (moment, argument) => behaviour(moment, argument);
    converse(socket, { behave, received, upgrade: security === 'starttls' ? certificate : undefined, login });
  };
  const server = security === 'tls' ? createTlsServer({ ...certificate }, talk) : createServer(talk);
  server.on('tlsClientError', () => {});
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    received,
    connections: () => connections,
    behave: (as) => {
      behaviour = as;
    },
    async stop() {
      for (const socket of open) socket.destroy();
      await new Promise((closed) => server.close(closed));
    },
  };
}

interface Role {
  readonly behave: Behaviour;
  readonly received: ReceivedMail[];
  readonly upgrade: TlsPair | undefined;
  readonly login: string | undefined;
}

function converse(socket: Socket, role: Role, resumed = false): void {
  const encrypted = 'encrypted' in socket;
  let [from, to, source] = ['', '', ''];
  let [inData, user] = [false, undefined as string | undefined];
  let rest = '';
  const say = (words: string) => socket.writable && socket.write(`${words}\r\n`);
  /** Says what should be said at a moment, and then does what follows, unless something odd is to happen. */
  const at = async (moment: Moment, argument: string, words: string, then = () => {}) => {
    const odd = await role.behave(moment, argument);
    if (odd === 'hang') socket.pause();
    else if (odd === 'close') socket.destroy();
    else if (odd === 'take and close') {
      take();
      socket.destroy();
    } else {
      if (odd === undefined) then();
      say(odd ?? words);
    }
  };
  const take = () => role.received.push({ from, to, source, encrypted, login: user });
  const upgrade = () => {
    if (!role.upgrade || !socket.writable) return;
    socket.removeAllListeners('data');
    converse(upgraded(socket, role.upgrade), role, true);
  };
  const command = (line: string) => {
    const [, verb = '', argument = ''] = /^([a-z]+) ?(.*)$/i.exec(line) ?? [];
    switch (verb.toUpperCase()) {
      case 'EHLO': {
        const can = [
          ...(role.upgrade && !encrypted ? ['STARTTLS'] : []),
          ...(role.login ? ['AUTH PLAIN'] : []),
          '8BITMIME',
          'SMTPUTF8',
        ];
        at(
          'EHLO',
          argument,
          ['test', ...can].map((word, i) => `250${i === can.length ? ' ' : '-'}${word}`).join('\r\n'),
        );
        return;
      }
      case 'STARTTLS':
        if (!role.upgrade) say('502 no');
        else void at('STARTTLS', argument, '220 go on').then(upgrade);
        return;
      case 'AUTH': {
        const [, given = ''] = argument.split(' ');
        const said = Buffer.from(given, 'base64').toString().split('\0').slice(1).join(':');
        if (said !== role.login) say('535 no');
        else
          void at('AUTH', argument, '235 welcome', () => {
            user = said;
          });
        return;
      }
      case 'MAIL':
        if (role.login && !user) say('530 who are you');
        else
          void at('MAIL', argument, '250 ok', () => {
            from = within(argument);
          });
        return;
      case 'RCPT':
        void at('RCPT', argument, '250 ok', () => {
          to = within(argument);
        });
        return;
      case 'DATA':
        void at('DATA', argument, '354 go on', () => {
          [inData, source] = [true, ''];
        });
        return;
      default:
        say('250 ok');
        if (verb.toUpperCase() === 'QUIT') socket.end();
    }
  };
  const data = (line: string) => {
    if (line !== '.') source += `${line.replace(/^\./, '')}\n`;
    else {
      inData = false;
      void at('END', source, '250 taken', take);
    }
  };
  socket.setEncoding('utf8');
  socket.on('error', () => {});
  socket.on('data', (chunk: string) => {
    rest += chunk;
    for (let end = rest.indexOf('\r\n'); end >= 0; end = rest.indexOf('\r\n')) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 2);
      if (inData) data(line);
      else command(line);
    }
  });
  if (!resumed) void at('CONNECT', '', '220 test');
}

function upgraded(socket: Socket, certificate: TlsPair): TLSSocket {
  return new TLSSocket(socket, { isServer: true, secureContext: createSecureContext({ ...certificate }) });
}

function within(argument: string): string {
  return /<([^>]*)>/.exec(argument)?.[1] ?? '';
}
