/** Tells of something that was seen. */
export function say(what: string): void {
  console.log(`✓ ${what}`);
}

/** Milliseconds as people read them. */
export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
