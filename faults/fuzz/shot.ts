import { once } from 'node:events';
import http2 from 'node:http2';
import {
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  fromJsonString,
  type Message,
  toJson,
} from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { status } from '@grpc/grpc-js';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';
import type { Ports } from '../../test/support/process-client.ts';
import { message } from '../abuse/frames.ts';

/** How a request travels. */
export const WIRES = ['gRPC', 'gRPC-Web', 'gRPC-Web text', 'binary', 'JSON', 'GET binary', 'GET JSON'] as const;
export type Wire = (typeof WIRES)[number];

/** One request, whole: sent again it is the same. */
export interface Shot {
  readonly method: DescMethodUnary;
  readonly wire: Wire;
  readonly headers: Readonly<Record<string, string>>;
  /** The message as the wire has it: protobuf, or the text of JSON. */
  readonly body: Buffer;
  /** Of the five bytes before the message, where the wire has them: the flag, and a length that may lie. */
  readonly frame?: { readonly flag?: number; readonly length?: number };
}

/** What came back. */
export interface Echo {
  /** Name of the gRPC code; `CUT` when there was no answer, `HTTP 415` where HTTP itself answered. */
  readonly code: string;
  readonly reason: string | undefined;
  readonly http: number;
  /** Everything that a refusal says, headers included; empty for an answer. */
  readonly said: string;
  /** The answer as JSON has it; absent in refusals. */
  readonly answer?: unknown;
  /** Why the answer can't be read by its descriptor. */
  readonly unreadable?: string;
}

/** Sends shots to one server, over a few connections that it keeps. */
export interface Gun {
  fire(shot: Shot): Promise<Echo>;
  close(): void;
}

/** Longer than any call may take. */
const PATIENCE_MS = 40_000;
const CODES: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(Code)
    .filter(([, number]) => typeof number === 'number')
    .map(([, number]) => [snake(Code[Number(number)] ?? ''), status[Number(number)] ?? '']),
);

export function createGun({ grpcPort, httpPort }: Ports): Gun {
  let session: http2.ClientHttp2Session | undefined;
  const connected = () => {
    if (!session || session.closed || session.destroyed) {
      session = http2.connect(`http://127.0.0.1:${grpcPort}`);
      session.on('error', () => {});
    }
    return session;
  };
  return {
    fire: (shot) =>
      shot.wire === 'gRPC' ? overHttp2(connected(), shot) : overHttp1(`http://127.0.0.1:${httpPort}`, shot),
    close: () => session?.destroy(),
  };
}

function pathOf({ parent, name }: DescMethodUnary): string {
  return `/${parent.typeName}/${name}`;
}

async function overHttp2(session: http2.ClientHttp2Session, { method, headers, body, frame }: Shot): Promise<Echo> {
  const said: Record<string, unknown> = {};
  const chunks: Buffer[] = [];
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': pathOf(method),
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    const note = (more: object) => void Object.assign(said, more);
    stream.on('response', note).on('trailers', note);
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.end(message(body, frame));
    await once(stream, 'close', { signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch (error) {
    return { code: 'CUT', reason: undefined, http: 0, said: String(error) };
  }
  return grpcEcho(method, { said, http: Number(said[':status'] ?? 0), bytes: Buffer.concat(chunks) });
}

async function overHttp1(base: string, shot: Shot): Promise<Echo> {
  try {
    const response = await fetch(...requestOf(base, shot));
    const bytes = Buffer.from(await response.arrayBuffer());
    const said = Object.fromEntries(response.headers);
    const isGrpc = said['content-type']?.startsWith('application/grpc-web') ?? false;
    if (isGrpc) return grpcEcho(shot.method, { ...webParts(bytes, said), http: response.status });
    return connectEcho(shot, response, bytes);
  } catch (error) {
    return { code: 'CUT', reason: undefined, http: 0, said: `${error} ${(error as Error).cause ?? ''}` };
  }
}

function requestOf(base: string, { method, wire, headers, body, frame }: Shot): [string, RequestInit] {
  const url = `${base}${pathOf(method)}`;
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const post = (type: string, bytes: Buffer): [string, RequestInit] => [
    url,
    { method: 'POST', headers: { 'content-type': type, ...headers }, body: new Uint8Array(bytes), signal },
  ];
  switch (wire) {
    case 'gRPC-Web':
      return post('application/grpc-web+proto', message(body, frame));
    case 'gRPC-Web text':
      return post('application/grpc-web-text', Buffer.from(message(body, frame).toString('base64')));
    case 'binary':
      return post('application/proto', body);
    case 'JSON':
      return post('application/json', body);
    case 'GET JSON':
      return [`${url}?connect=v1&encoding=json&message=${encodeURIComponent(text(body))}`, { headers, signal }];
    default:
      return [`${url}?connect=v1&encoding=proto&base64=1&message=${body.toString('base64url')}`, { headers, signal }];
  }
}

/** As a URL can hold it. */
function text(body: Buffer): string {
  return body.toString('utf8').toWellFormed();
}

interface GrpcParts {
  readonly said: Readonly<Record<string, unknown>>;
  readonly http: number;
  readonly bytes: Buffer;
}

function grpcEcho({ output }: DescMethodUnary, { said, http, bytes }: GrpcParts): Echo {
  const number = said['grpc-status'];
  if (number === undefined) {
    return { code: http === 0 ? 'CUT' : `HTTP ${http}`, reason: undefined, http, said: JSON.stringify(said) };
  }
  const code = status[Number(number)] ?? `${number}`;
  const answer = bytes.subarray(5);
  if (code === 'OK')
    return { code, reason: undefined, http, said: '', ...read(output, () => fromBinary(output, answer)) };
  const details = said['grpc-status-details-bin'];
  const packed = details ? fromBinary(StatusSchema, Buffer.from(`${details}`, 'base64')).details : [];
  return { code, reason: reasonIn(packed), http, said: JSON.stringify(said) + JSON.stringify(packed.map(printable)) };
}

function webParts(bytes: Buffer, headers: Readonly<Record<string, string>>): Pick<GrpcParts, 'said' | 'bytes'> {
  const said: Record<string, unknown> = { ...headers };
  let message: Buffer = Buffer.alloc(0);
  for (let at = 0; at + 5 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at + 1);
    const part = bytes.subarray(at, at + 5 + length);
    if ((bytes[at] ?? 0) & 0x80) {
      for (const line of part.subarray(5).toString('latin1').split('\r\n')) {
        const colon = line.indexOf(':');
        if (colon > 0) said[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
      }
    } else message = part;
    at += 5 + length;
  }
  return { said, bytes: message };
}

interface ConnectError {
  readonly code?: string;
  readonly details?: readonly { readonly type: string; readonly value: string }[];
}

function connectEcho({ method, wire }: Shot, response: Response, bytes: Buffer): Echo {
  const http = response.status;
  if (response.ok) {
    const { output } = method;
    const decode = () => (wire.endsWith('JSON') ? fromJsonString(output, bytes.toString()) : fromBinary(output, bytes));
    return { code: 'OK', reason: undefined, http, said: '', ...read(output, decode) };
  }
  const said = `${JSON.stringify(Object.fromEntries(response.headers))} ${bytes.toString('latin1')}`;
  try {
    const { code = '', details = [] } = JSON.parse(bytes.toString()) as ConnectError;
    const packed = details.map(({ type, value }) => ({ typeUrl: type, value: Buffer.from(value, 'base64') }));
    return { code: CODES[code] ?? `?${code}`, reason: reasonIn(packed), http, said: said + packed.map(printable) };
  } catch {
    return { code: `HTTP ${http}`, reason: undefined, http, said };
  }
}

interface Packed {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

function reasonIn(details: readonly Packed[]): string | undefined {
  const info = details.find(({ typeUrl }) => typeUrl.endsWith('google.rpc.ErrorInfo'));
  return info && fromBinary(ErrorInfoSchema, info.value).reason;
}

function printable({ value }: Packed): string {
  return Buffer.from(value).toString('latin1');
}

function read(output: DescMessage, decode: () => Message): Pick<Echo, 'answer' | 'unreadable'> {
  try {
    return { answer: toJson(output, decode()) };
  } catch (error) {
    return { unreadable: String(error) };
  }
}

function snake(name: string): string {
  return name.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
}
