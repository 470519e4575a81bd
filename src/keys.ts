import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { createKeyFile, openSigningKeys, type SigningKeys } from './auth/signing-keys.ts';
import type { Config } from './config.ts';
import type { Logger } from './log.ts';

/** The keys that sign access tokens: those configured, or, beside the embedded database, ones made once and kept there. */
export async function openKeys({ jwtKeysFile, dataDir }: Config, log: Logger): Promise<SigningKeys> {
  const file = jwtKeysFile ?? join(dataDir, 'jwt-keys.json');
  if (
    !jwtKeysFile &&
    !(await access(file).then(
      () => true,
      () => false,
    ))
  )
    await createKeyFile(file);
  return openSigningKeys({
    file,
    onError: (error) =>
      log.error({ err: error.message }, 'the signing keys could not be read again: the last ones stay'),
    onWarning: (message) => log.warn(message),
  });
}
