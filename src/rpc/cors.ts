import { cors as connect } from '@connectrpc/connect';
import { type HttpRequest, type HttpResponse, vary } from './http-headers.ts';

const METHODS = connect.allowedMethods.join(', ');
const OUR_HEADERS = ['authorization', 'if-none-match', 'x-request-id', 'traceparent', 'tracestate'];
const REQUEST_HEADERS = [...connect.allowedHeaders, ...OUR_HEADERS].join(', ');
const RESPONSE_HEADERS = [...connect.exposedHeaders, 'etag', 'x-request-id', 'idempotency-replayed'].join(', ');
const PREFLIGHT_SECONDS = 7200;

/** Sets the CORS headers of an answer; returns whether the request was a preflight, which it has then answered. */
export type Cors = (req: HttpRequest, res: HttpResponse) => boolean;

/**
 * Lets scripts of `origins` call and read the answers; `*` stands for all. Tokens travel in a header and not in cookies, so
 * credentials are never allowed. With an empty list browsers get nothing, and keep other sites out.
 */
export function cors(origins: readonly string[]): Cors {
  if (origins.length === 0) return () => false;
  const all = origins.includes('*');
  return (req, res) => {
    const { origin } = req.headers;
    if (!all) vary(res, 'origin');
    const allowed = origin !== undefined && (all || origins.includes(origin));
    if (allowed) {
      res.setHeader('access-control-allow-origin', all ? '*' : origin);
      res.setHeader('access-control-expose-headers', RESPONSE_HEADERS);
    }
    const preflight = req.method === 'OPTIONS' && req.headers['access-control-request-method'] !== undefined;
    if (preflight) answerPreflight(res, allowed);
    return preflight;
  };
}

function answerPreflight(res: HttpResponse, allowed: boolean): void {
  if (allowed) {
    res.setHeader('access-control-allow-methods', METHODS);
    res.setHeader('access-control-allow-headers', REQUEST_HEADERS);
    res.setHeader('access-control-max-age', PREFLIGHT_SECONDS);
  }
  res.statusCode = 204;
  res.end();
}
