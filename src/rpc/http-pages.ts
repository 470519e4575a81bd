import { type HttpRequest, type HttpResponse, sendJson } from './http-headers.ts';
import { notThere, sendRefusal } from './http-refusal.ts';
import type { CallLog } from './log.ts';
import type { TurnAway } from './turned-away.ts';

/** Whether this instance should get calls, and why not. */
export interface Readiness {
  readonly ready: boolean;
  readonly reasons: readonly string[];
  /** What an operator should see to, though calls are answered. */
  readonly warnings?: readonly string[];
}

/** What is served beside RPCs. */
export interface PageOptions {
  /** The key set that access tokens are signed with, as RFC 7517 writes it. */
  readonly jwks: () => Promise<object>;
  readonly ready: () => Promise<Readiness>;
  readonly log: CallLog;
}

/** Answers what is no RPC. */
export type Pages = (req: HttpRequest, res: HttpResponse) => void;

/** Probes give up after a second: before that they are told no. */
const READY_MS = 900;

/** JWKS, liveness and readiness; 404 for the rest, as JSON. */
export function pages({ jwks, ready, log, turnAway }: PageOptions & { readonly turnAway: TurnAway }): Pages {
  const routes = new Map<string, (req: HttpRequest, res: HttpResponse) => Promise<void>>([
    [
      '/.well-known/jwks.json',
      async (req, res) => {
        const keys = await jwks();
        // A key is published long before it signs: a minute late is early enough.
        res.setHeader('cache-control', 'public, max-age=60');
        sendJson(req, res, 200, keys);
      },
    ],
    ['/livez', async (req, res) => sendJson(req, res, 200, { status: 'alive' })],
    [
      '/readyz',
      async (req, res) => {
        const { ready: yes, reasons, warnings = [] } = await inTime(ready());
        sendJson(req, res, yes ? 200 : 503, { ready: yes, reasons, warnings });
      },
    ],
  ]);
  return (req, res) => {
    const page = routes.get(pathOf(req));
    if (!page) {
      turnAway('no such method');
      return sendRefusal(req, res, 404, notThere('there is nothing at this address'));
    }
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      turnAway('another HTTP method');
      return sendWrongMethod(req, res, ['GET', 'HEAD']);
    }
    page(req, res).catch((err: unknown) => {
      log.error({ err }, 'a page failed');
      if (!res.headersSent) sendJson(req, res, 500, { code: 'internal', message: 'internal error' });
    });
  };
}

/** The address without its query. */
export function pathOf({ url }: HttpRequest): string {
  return url?.split('?', 1)[0] ?? '';
}

/** 405, with the methods that would be right. */
export function sendWrongMethod(req: HttpRequest, res: HttpResponse, allowed: readonly string[]): void {
  res.setHeader('allow', allowed.join(', '));
  sendRefusal(req, res, 405, notThere(`this address takes ${allowed.join(' and ')}`));
}

async function inTime(answer: Promise<Readiness>): Promise<Readiness> {
  const late = Promise.withResolvers<Readiness>();
  const timer = setTimeout(() => late.resolve({ ready: false, reasons: [`no answer in ${READY_MS} ms`] }), READY_MS);
  return Promise.race([answer, late.promise]).finally(() => clearTimeout(timer));
}
