import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/** Names under which secrets and patient data travel; whatever is logged under them is cut out, at the top and one level down. */
const PRIVATE = [
  'authorization',
  'password',
  'currentPassword',
  'newPassword',
  'passwordHash',
  'accessToken',
  'refreshToken',
  'token',
  'email',
  'displayName',
  'reasonForVisit',
  'cancelReason',
  'reason_for_visit',
  'cancel_reason',
  'parameters',
  'detail',
];

/** The process' log: one JSON object a line, on standard output. */
export function createLog(level: string, destination?: Parameters<typeof pino>[1]): Logger {
  const options = {
    level,
    base: undefined,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: PRIVATE.flatMap((name) => [name, `*.${name}`]), censor: '[cut]' },
  };
  return destination ? pino(options, destination) : pino(options);
}
