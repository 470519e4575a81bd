import type { Socket } from 'node:net';
import type { Fault } from '../fault.ts';
import type { DoorOptions } from './connection-limit.ts';
import { malformed, outOfTime, tooLarge } from './framework-error.ts';
import { refusalJson } from './http-refusal.ts';
import type { Pipelines } from './pipelines.ts';

/** What Node's parser gives up on by itself, and the answer to it; the rest is malformed. */
const ANSWERS: Readonly<Record<string, readonly [status: string, why: () => Fault]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', tooLarge],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ['413 Payload Too Large', tooLarge],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', outOfTime],
};

/**
 * Answers bytes that Node can't read as an HTTP/1 request, as every request that is no call, and closes the connection.
 * Nothing is said to who is gone, or in the middle of another answer.
 */
export function refuseUnreadable(
  error: NodeJS.ErrnoException,
  socket: Socket,
  { isAnswering }: Pick<Pipelines, 'isAnswering'>,
  { turnAway }: Pick<DoorOptions, 'turnAway'>,
): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  turnAway('malformed request');
  if (!isAnswering(socket)) socket.write(answerTo(error.code ?? ''));
  socket.destroySoon();
}

function answerTo(code: string): string {
  const [status, why] = ANSWERS[code] ?? ['400 Bad Request', malformed];
  const body = JSON.stringify(refusalJson(why()));
  const head = `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json\r\ncache-control: no-store`;
  return `${head}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}
