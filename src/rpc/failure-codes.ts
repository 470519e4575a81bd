const FAILURES: ReadonlySet<string> = new Set([
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
]);

/** Whether a call that ends with this gRPC code counts as a failure of the service, as OpenTelemetry has it; with others it was answered. */
export function isFailure(code: string): boolean {
  return FAILURES.has(code);
}
