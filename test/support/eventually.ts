import { setTimeout as sleep } from 'node:timers/promises';

/** Resolves when `holds` does. Throws when it never does, in a minute. */
export async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 60_000; !(await holds()); await sleep(20))
    if (Date.now() > end) throw new Error(`it never held: ${holds}`);
}
