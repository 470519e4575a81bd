import type { DescMethod } from '@bufbuild/protobuf';
import { timeAllowed } from './deadline.ts';
import type { Limits } from './limits.ts';

const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/**
 * Writes the time that `method` gets into the header its protocol reads: connect has no default, and refuses what is over
 * its maximum instead of capping it. A header that can't be read stays, to be refused. Returns the milliseconds, undefined
 * where there is no end.
 */
export function setDeadline(header: Headers, method: DescMethod, limits: Limits): number | undefined {
  const isGrpc = header.get('content-type')?.startsWith('application/grpc') ?? false;
  const name = isGrpc ? 'grpc-timeout' : 'connect-timeout-ms';
  const asked = header.get(name);
  const askedMs = asked === null ? undefined : isGrpc ? grpcMs(asked) : connectMs(asked);
  if (asked !== null && askedMs === undefined) return undefined;
  const allowed = timeAllowed(askedMs, method, limits);
  if (allowed !== undefined && allowed !== askedMs) header.set(name, isGrpc ? `${allowed}m` : `${allowed}`);
  return allowed;
}

function connectMs(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

function grpcMs(text: string): number | undefined {
  const [, digits, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  const ms = UNIT_MS[unit];
  return digits === undefined || ms === undefined ? undefined : Number(digits) * ms;
}
