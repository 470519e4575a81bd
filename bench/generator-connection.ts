import { once } from 'node:events';
import net from 'node:net';
import { callHeaders, FLAG, FRAME, frame, headerBlock, message, preface, word } from '../faults/abuse/frames.ts';
import { frameReader, type OnFrame } from './frame-reader.ts';

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

/** See `openConnection`. */
export interface ConnectionOptions {
  readonly port: number;
  /** `/package.Service/Method`. */
  readonly path: string;
  /** Request headers of each. */
  readonly callers: readonly Readonly<Record<string, string>>[];
}

/** RFC 9113's largest window: answers never wait for us. */
const WINDOW = 0x7fff_ffff;
const FIRST_WINDOW = 65_535;
/** Bytes of answers after which the connection's window is opened again. */
const REOPEN = 1 << 28;
/** Longest frame that everybody takes. */
const LONGEST = 16_384;
const SETTING = { headerTable: 1, push: 2, initialWindow: 4 } as const;
const OPENING = Buffer.concat([
  preface([
    [SETTING.headerTable, 0],
    [SETTING.push, 0],
    [SETTING.initialWindow, WINDOW],
  ]),
  windowUpdate(WINDOW - FIRST_WINDOW),
]);

interface Open {
  hasMessage: boolean;
  resolve(answered: boolean): void;
  reject(error: Error): void;
}

/** Opens one to 127.0.0.1. A refusal is told from an answer by what it lacks: a message. */
export async function openConnection({ port, path, callers }: ConnectionOptions): Promise<Connection> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  socket.write(OPENING);
  const open = new Map<number, Open>();
  socket.on('data', frameReader(answersTo(socket, open)));
  socket.on('error', () => {}); // close follows
  socket.on('close', () => {
    for (const { reject } of open.values()) reject(new Error('the connection was closed'));
    open.clear();
  });
  const send = sending(socket);
  const heads = callers.map((own) =>
    frame({ type: FRAME.headers, flags: FLAG.endHeaders, payload: headerBlock(callHeaders(path, own)) }),
  );
  let next = 1;
  return {
    call({ caller, bytes }) {
      if (socket.destroyed) return Promise.reject(new Error('the connection was closed'));
      const stream = next;
      next += 2;
      const head = Buffer.from(heads[caller] as Buffer);
      head.writeUInt32BE(stream, 5);
      const payload = message(bytes);
      if (payload.length > LONGEST) throw new Error(`a request of ${payload.length} bytes needs more than one frame`);
      send(head, frame({ type: FRAME.data, flags: FLAG.endStream, stream, payload }));
      return new Promise((resolve, reject) => open.set(stream, { hasMessage: false, resolve, reject }));
    },
    close: () => void socket.destroy(),
  };
}

/** Settles the calls that frames end, and says what HTTP/2 wants said. */
function answersTo(socket: net.Socket, open: Map<number, Open>): OnFrame {
  let unacknowledged = 0;
  return (type, flags, stream, payload) => {
    const call = open.get(stream);
    if (type === FRAME.data) {
      unacknowledged += payload.length;
      if (unacknowledged > REOPEN) {
        socket.write(windowUpdate(unacknowledged));
        unacknowledged = 0;
      }
      if (call && payload.length) call.hasMessage = true;
    }
    const asks = (type === FRAME.settings || type === FRAME.ping) && !(flags & FLAG.ack);
    if (asks) {
      const echoed = type === FRAME.ping ? Buffer.from(payload) : Buffer.alloc(0);
      socket.write(frame({ type, flags: FLAG.ack, payload: echoed }));
    }
    const ends = type === FRAME.reset || ((type === FRAME.data || type === FRAME.headers) && flags & FLAG.endStream);
    if (!ends || !call) return;
    open.delete(stream);
    call.resolve(call.hasMessage && type !== FRAME.reset);
  };
}

/** Writes what is sent in one turn of the event loop at once. */
function sending(socket: net.Socket): (...buffers: Buffer[]) => void {
  let corked = false;
  return (...buffers) => {
    if (!corked) {
      corked = true;
      socket.cork();
      setImmediate(() => {
        corked = false;
        socket.uncork();
      });
    }
    for (const buffer of buffers) socket.write(buffer);
  };
}

function windowUpdate(bytes: number): Buffer {
  return frame({ type: FRAME.windowUpdate, payload: word(bytes) });
}
