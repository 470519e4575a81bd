const FAILURES: ReadonlySet<string> = new Set(['UNKNOWN', 'DEADLINE_EXCEEDED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS']);

/**
 * Whether a call that ends with this gRPC code counts as a failure of the service; with others it was answered. As OpenTelemetry
 * has it, but for UNIMPLEMENTED: that is for clients to see to. The alerts and the dashboard count the same.
 */
export function isFailure(code: string): boolean {
  return FAILURES.has(code);
}
