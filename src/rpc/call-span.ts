import type { Interceptor } from '@connectrpc/connect';
import { type Span, tracer } from '../tracing/tracer.ts';
import { isFailure } from './failure-codes.ts';
import type { EndedCall } from './observe.ts';

type Request = Parameters<ReturnType<Interceptor>>[0];

/** The span of a call; undefined where nobody traces. */
export function beginCallSpan({ service, method, header }: Request, requestId: string): Span | undefined {
  return tracer()?.call(`${service.typeName}/${method.name}`, header, {
    'rpc.system': 'grpc',
    'rpc.service': service.typeName,
    'rpc.method': method.name,
    'amrutam.request_id': requestId,
  });
}

export function endCallSpan(span: Span, { code, reason }: Pick<EndedCall, 'code' | 'reason'>): void {
  span.tell({ 'rpc.response.status_code': code, ...(reason && { 'amrutam.reason': reason }) });
  span.end(isFailure(code) ? (reason ?? code) : undefined);
}
