import { Code, ConnectError } from '@connectrpc/connect';
import { errorToJson } from '@connectrpc/connect/protocol-connect';
import type { Fault } from '../fault.ts';
import { toConnectError } from './errors.ts';
import { type HttpRequest, type HttpResponse, sendJson } from './http-headers.ts';

/** Answers a request that is no call as Connect writes errors, with the reason if there is one. */
export function sendRefusal(req: HttpRequest, res: HttpResponse, status: number, why: Fault | ConnectError): void {
  sendJson(req, res, status, refusalJson(why));
}

/** What sendRefusal says, for what can't be answered through Node. */
export function refusalJson(why: Fault | ConnectError): object {
  return errorToJson(toConnectError(why), undefined) as object;
}

/** There is no such address, or not with this HTTP method. */
export function notThere(message: string): ConnectError {
  return new ConnectError(message, Code.Unimplemented);
}
