import { readFile } from 'node:fs/promises';

/** The most memory, in MB, that an instance was seen to take: docs/reliability.md, its drill `fuzz`. Limits must leave room above. */
export async function peakMemory(): Promise<number> {
  const text = await readFile('docs/reliability.md', 'utf8');
  const [, told] = /^\| `fuzz` .* (\d+) MB at most/m.exec(text) ?? [];
  if (!told) throw new Error('docs/reliability.md no longer says how much memory the fuzzer found in use');
  return Number(told);
}
