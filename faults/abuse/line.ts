import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { FRAME } from './frames.ts';

/** Where to call, from which address, and whether in TLS. */
export interface LineOptions {
  readonly port: number;
  readonly from?: string;
  /** The protocol to agree on; absent: plain text. */
  readonly alpn?: string;
}

/** A connection that says what it is told to, and keeps what it hears. */
export interface Line {
  readonly socket: net.Socket;
  /** Bytes so far, as latin1. */
  heard(): string;
  /** How many streams the other side has broken off with that code. */
  resets(code: number): number;
  /** The code of the last GOAWAY. */
  goaway(): number | undefined;
  /** Sends, and waits until there is room for more, unless the other side has closed. */
  say(bytes: string | Buffer): Promise<void>;
  /** Resolves when the other side has closed; false when it hasn't in so many milliseconds. */
  closedWithin(ms: number): Promise<boolean>;
  hangUp(): void;
}

/** Opens one. What it hears is kept up to 1 MB. */
export async function openLine({ port, from, alpn }: LineOptions): Promise<Line> {
  const plain = net.connect({ port, host: '127.0.0.1', ...(from && { localAddress: from }) });
  const socket = alpn ? tls.connect({ socket: plain, rejectUnauthorized: false, ALPNProtocols: [alpn] }) : plain;
  const heard: Buffer[] = [];
  let length = 0;
  let closed = false;
  plain.on('error', () => {});
  const over = once(socket, 'close').catch(() => {});
  socket
    .on('error', () => {})
    .on('close', () => {
      closed = true;
    })
    .on('data', (bytes: Buffer) => {
      length += bytes.length;
      if (length < 1_000_000) heard.push(bytes);
    });
  await Promise.race([once(socket, alpn ? 'secureConnect' : 'connect').catch(() => {}), over, sleep(3_000)]);
  const parts = () => framesIn(Buffer.concat(heard));
  return {
    socket,
    heard: () => Buffer.concat(heard).toString('latin1'),
    resets: (code) => parts().filter(({ type, payload }) => type === FRAME.reset && payload.at(3) === code).length,
    goaway: () =>
      parts()
        .findLast(({ type }) => type === FRAME.goaway)
        ?.payload.readUInt32BE(4),
    async say(bytes) {
      if (closed || socket.destroyed) return;
      const more = socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
      if (!more) await Promise.race([once(socket, 'drain').catch(() => {}), over, sleep(5_000)]);
    },
    closedWithin: (ms) => Promise.race([over.then(() => true), sleep(ms, false)]),
    hangUp: () => void socket.destroy(),
  };
}

function framesIn(bytes: Buffer): { readonly type: number; readonly payload: Buffer }[] {
  const found: { type: number; payload: Buffer }[] = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    found.push({ type: bytes.readUInt8(at + 3), payload: bytes.subarray(at + 9, end) });
    at = end;
  }
  return found.filter(({ payload, type }) => type !== FRAME.goaway || payload.length >= 8);
}
