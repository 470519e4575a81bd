import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { createSealKeyFile } from './audit/seal-keys.ts';
import { createKeyFile, openSigningKeys, type SigningKeys } from './auth/signing-keys.ts';
import { AUDIT_KEYS, type Config } from './config.ts';
import type { Logger } from './log.ts';

type Files = Pick<Config, 'jwtKeysFile' | 'dataDir'>;
type AllFiles = Files & Pick<Config, 'auditKeysFile' | 'databaseUrl'>;

/** Makes files of keys beside the embedded database, where none are configured and none were made before. */
export async function makeMissingKeys(files: AllFiles): Promise<void> {
  if (!files.jwtKeysFile) await makeMissing(fileOf(files), createKeyFile);
  const { auditKeysFile, databaseUrl, dataDir } = files;
  if (!databaseUrl && auditKeysFile === join(dataDir, AUDIT_KEYS)) await makeMissing(auditKeysFile, createSealKeyFile);
}

async function makeMissing(file: string, make: (file: string) => Promise<void>): Promise<void> {
  const there = await access(file).then(
    () => true,
    () => false,
  );
  if (!there) await make(file);
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
