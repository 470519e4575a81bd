import type { Results } from './outcome.ts';
export async function save(_: Results): Promise<void> {}
