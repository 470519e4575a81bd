import { createSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';

/** A name server that knows one name, as the one of a container engine does. */
export interface NameServer {
  /** Where it listens on 127.0.0.1. */
  readonly port: number;
  /** From now on the name stands for these IPv4 addresses. */
  set(addresses: readonly string[]): void;
  /** It answers nothing any more. May be called again. */
  close(): void;
}

const HEADER_BYTES = 12;
const ANSWER = 0x8400;
const NO_SUCH_NAME = 3;
const TYPE_A = 1;
/** The name of the question, by its place. */
const THAT_NAME = 0xc000 + HEADER_BYTES;

/** Starts a name server for `name` (RFC 1035, over UDP) which stands for nothing yet. */
export async function startNameServer(name: string): Promise<NameServer> {
  const socket = createSocket('udp4');
  let known: readonly string[] = [];
  let open = true;
  socket.on('message', (query: Buffer, { port, address }: RemoteInfo) => {
    const question = questionOf(query);
    const answers = question.name === name && question.type === TYPE_A ? known.map(recordOf) : [];
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt16BE(query.readUInt16BE(0), 0);
    header.writeUInt16BE(ANSWER + (question.name === name ? 0 : NO_SUCH_NAME), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(answers.length, 6);
    socket.send(Buffer.concat([header, question.bytes, ...answers]), port, address);
  });
  await once(socket.bind(0, '127.0.0.1'), 'listening');
  return {
    port: socket.address().port,
    set(addresses) {
      known = addresses;
    },
    close() {
      if (open) socket.close();
      open = false;
    },
  };
}

function questionOf(query: Buffer): { readonly name: string; readonly type: number; readonly bytes: Buffer } {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = query.readUInt8(at); length; length = query.readUInt8(at)) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.'), type: query.readUInt16BE(at + 1), bytes: query.subarray(HEADER_BYTES, at + 5) };
}

/** An A record, good for a second. */
function recordOf(address: string): Buffer {
  const record = Buffer.alloc(16);
  record.writeUInt16BE(THAT_NAME, 0);
  record.writeUInt16BE(TYPE_A, 2);
  record.writeUInt16BE(1, 4);
  record.writeUInt32BE(1, 6);
  record.writeUInt16BE(4, 10);
  Buffer.from(address.split('.').map(Number)).copy(record, 12);
  return record;
}
