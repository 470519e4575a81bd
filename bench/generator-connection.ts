import { once } from 'node:events';
import net from 'node:net';
import { callHeaders, FLAG, FRAME, frame, headerBlock, message, preface, word } from '../faults/abuse/frames.ts';
import { frameReader } from './frame-reader.ts';

/** One call: who makes it, by place among the callers, and the bytes of its message. */
export interface Chunk {
  readonly caller: number;
  readonly bytes: Uint8Array;
}

/** A connection that speaks just enough HTTP/2 to make unary gRPC calls at a few microseconds each. */
export interface Connection {
  /** Resolves when the call has ended: true when it was answered with a message. Rejects when the connection breaks. */
  call(chunk: Chunk): Promise<boolean>;
  close(): void;
}

/** RFC 9113's largest window: answers never wait for us. */
const WINDOW = 0x7fff_ffff;
/** Bytes of answers after which the connection's window is opened again. */
const REOPEN = 1 << 28;
const SETTING = { headerTable: 1, push: 2, initialWindow: 4 } as const;

interface Open {
  hasMessage: boolean;
  resolve(answered: boolean): void;
  reject(error: Error): void;
}

/** Opens one to 127.0.0.1. A refusal is told from an answer by what it lacks: a message. */
export async function openConnection({
  port,
  path,
  callers,
}: {
  readonly port: number;
  readonly path: string;
  readonly callers: readonly Readonly<Record<string, string>>[];
}): Promise<Connection> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  const headers = callers.map((own) =>
    frame({ type: FRAME.headers, flags: FLAG.endHeaders, payload: headerBlock(callHeaders(path, own)) }),
  );
  socket.write(
    Buffer.concat([
      preface([
        [SETTING.headerTable, 0],
        [SETTING.push, 0],
        [SETTING.initialWindow, WINDOW],
      ]),
      windowUpdate(WINDOW - 65_535),
    ]),
  );
  const open = new Map<number, Open>();
  let stream = 1;
  let unacknowledged = 0;
  let corked = false;

  function onFrame(type: number, flags: number, id: number, payload: Buffer): void {
    if (type === FRAME.data) {
      unacknowledged += payload.length;
      if (unacknowledged > REOPEN) {
        socket.write(windowUpdate(unacknowledged));
        unacknowledged = 0;
      }
      const call = open.get(id);
      if (call && payload.length) call.hasMessage = true;
    }
    if (type === FRAME.settings && !(flags & FLAG.ack)) socket.write(frame({ type: FRAME.settings, flags: FLAG.ack }));
    if (type === FRAME.ping && !(flags & FLAG.ack)) {
      socket.write(frame({ type: FRAME.ping, flags: FLAG.ack, payload: Buffer.from(payload) }));
    }
    const ends = type === FRAME.reset || ((type === FRAME.data || type === FRAME.headers) && flags & FLAG.endStream);
    if (!ends) return;
    const call = open.get(id);
    open.delete(id);
    call?.resolve(call.hasMessage && type !== FRAME.reset);
  }
  const feed = frameReader(onFrame);
  socket.on('data', feed);
  socket.on('error', () => {});
  socket.on('close', () => {
    for (const { reject } of open.values()) reject(new Error('the connection was closed'));
    open.clear();
  });

  return {
    call({ caller, bytes }) {
      const head = Buffer.from(headers[caller] as Buffer);
      head.writeUInt32BE(stream, 5);
      const body = frame({ type: FRAME.data, flags: FLAG.endStream, stream, payload: message(bytes) });
      if (!corked) {
        corked = true;
        socket.cork();
        setImmediate(() => {
          corked = false;
          socket.uncork();
        });
      }
      socket.write(head);
      socket.write(body);
      const id = stream;
      stream += 2;
      return new Promise((resolve, reject) => open.set(id, { hasMessage: false, resolve, reject }));
    },
    close: () => void socket.destroy(),
  };
}

function windowUpdate(bytes: number): Buffer {
  return frame({ type: FRAME.windowUpdate, payload: word(bytes) });
}
