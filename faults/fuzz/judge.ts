import { CODE } from '../../src/rpc/errors.ts';
import type { Echo, Shot } from './shot.ts';

/** Refusals without a reason: what nobody wrote, and what nobody waits for. */
const WITHOUT_REASON = new Set(['OK', 'UNIMPLEMENTED', 'CANCELLED']);
/** Codes that a server answers only when it doesn't know what happened. */
const NEVER = new Set(['INTERNAL', 'UNKNOWN', 'DATA_LOSS', 'CUT']);
/** The database is there all along. */
const NEVER_HERE = new Set(['DATABASE_DOWN', 'OUTCOME_UNKNOWN', 'DRAINING']);
/** What of the inside must not be seen outside: stacks, paths, SQL, names of parts. */
const INSIDE =
  /node_modules|\.[tj]s:\d|\bat \S+ \(|\b(select|insert into|update \w+ set|delete from)\b|pg_\w+|postgres|sqlstate|kysely|mikro|relation \\?"|violates|econn|\/work\/|\/src\/|typeerror|rangeerror|undefined|\[object/i;

/** What is wrong with an answer; undefined when nothing is. */
export function wrongWith({ wire }: Shot, echo: Echo): string | undefined {
  const { code, reason, http, said } = echo;
  if (NEVER.has(code)) return `${code} (HTTP ${http})`;
  if (code.startsWith('?')) return `a code that is none: ${code}`;
  if (http >= 500 && ![501, 503, 504].includes(http)) return `HTTP ${http}`;
  // Node's own answer to a head that is too large has no body.
  if (code.startsWith('HTTP'))
    return code === 'HTTP 431' && wire.startsWith('GET') ? undefined : `no answer but ${code}`;
  if (echo.unreadable) return `an answer that its descriptor can't read: ${echo.unreadable}`;
  if (!WITHOUT_REASON.has(code) && !(reason !== undefined && reason in CODE)) return `${code} without a reason of ours`;
  if (reason && NEVER_HERE.has(reason)) return `${reason}, though nothing was wrong`;
  const leak = INSIDE.exec(said);
  return leak ? `the inside is seen: ${leak[0]}` : undefined;
}
