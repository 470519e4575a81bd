import { rm } from 'node:fs/promises';

/** Ends the server that globalSetup has started. */
export default async function tearDown(): Promise<void> {
  await globalThis.embedded?.server.stop();
  if (globalThis.embedded) await rm(globalThis.embedded.dataDir, { recursive: true, force: true });
}
