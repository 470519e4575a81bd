const EXIT_CODES = { SIGTERM: 143, SIGINT: 130 } as const;

/**
 * Has signals end this process, as they end every other. The first process of a container gets none that it doesn't handle:
 * one that only starts, or runs a command, would go on until it is killed. Ends with the function that it returns.
 */
export function endWhenAsked(): () => void {
  if (process.pid !== 1) return () => {};
  const end = (signal: keyof typeof EXIT_CODES) => process.exit(EXIT_CODES[signal]);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, end);
  return () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.off(signal, end);
  };
}
