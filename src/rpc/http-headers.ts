import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';

/** Requests and responses of both HTTP versions. */
export type HttpRequest = IncomingMessage | Http2ServerRequest;
export type HttpResponse = ServerResponse | Http2ServerResponse;

const SECURITY: Readonly<Record<string, string>> = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

/** Sets what every answer carries: nothing here is a page to frame, to run or to guess the type of. */
export function setSecurityHeaders(res: HttpResponse, overTls: boolean): void {
  for (const [name, value] of Object.entries(SECURITY)) res.setHeader(name, value);
  if (overTls) res.setHeader('strict-transport-security', 'max-age=31536000');
}

/** Whether anybody may keep an answer: that to a public read. What somebody signed in was told is nobody else's. */
export function mayBeKept({ method, headers }: HttpRequest, ok: boolean): boolean {
  return ok && headers.authorization === undefined && (method === 'GET' || method === 'HEAD');
}

/**
 * How long an answer may be kept. A public read may be a second old: that spares the server a crowd on one page, and a slot
 * that is gone by then is refused when it is booked.
 */
export function cacheControl(req: HttpRequest, ok: boolean): string {
  if (req.headers.authorization !== undefined) return 'private, no-store';
  return mayBeKept(req, ok) ? 'public, max-age=1' : 'no-store';
}

/** Has an HTTP/1 connection closed after this answer; HTTP/2 has a frame of its own for that. */
export function askToLeave(req: HttpRequest, res: HttpResponse): void {
  if (req.httpVersionMajor === 1 && !res.headersSent) res.setHeader('connection', 'close');
}

/** Closes an HTTP/1 connection once what was written to it has gone out. */
export function hangUp(req: HttpRequest): void {
  if (req.httpVersionMajor === 1) req.socket.end();
}

/** Adds `name` to the headers on which the answer depends. */
export function vary(res: HttpResponse, name: string): void {
  const before = res.getHeader('vary');
  res.setHeader('vary', before ? `${before}, ${name}` : name);
}

/** Answers with JSON. */
export function sendJson(req: HttpRequest, res: HttpResponse, status: number, body: object): void {
  const bytes = Buffer.from(JSON.stringify(body));
  res.setHeader('content-type', 'application/json');
  res.setHeader('content-length', `${bytes.length}`);
  if (!res.hasHeader('cache-control')) res.setHeader('cache-control', 'no-store');
  res.statusCode = status;
  if (req.method === 'HEAD') res.end();
  else res.end(bytes);
}
