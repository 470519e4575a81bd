import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { createKeyFile, openSigningKeys, type SigningKeys } from './auth/signing-keys.ts';
import type { Config } from './config.ts';
import type { Logger } from './log.ts';

type Files = Pick<Config, 'jwtKeysFile' | 'dataDir'>;

/** Makes a file of keys beside the embedded database, where none is configured and none was made before. */
export async function makeMissingKeys(files: Files): Promise<void> {
  if (files.jwtKeysFile) return;
  const there = await access(fileOf(files)).then(
    () => true,
    () => false,
  );
  if (!there) await createKeyFile(fileOf(files));
}

/** The keys that sign access tokens: those configured, or those made. */
export function openKeys(files: Files, log: Logger): Promise<SigningKeys> {
  return openSigningKeys({
    file: fileOf(files),
    onError: (error) =>
      log.error({ err: error.message }, 'the signing keys could not be read again: the last ones stay'),
    onWarning: (message) => log.warn(message),
  });
}

function fileOf({ jwtKeysFile, dataDir }: Files): string {
  return jwtKeysFile ?? join(dataDir, 'jwt-keys.json');
}
