/** What calls are logged through; pino's logger is one. */
export interface CallLog {
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
