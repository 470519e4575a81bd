import { access } from 'node:fs/promises';
import { createSealKeyFile } from '../audit/seal-keys.ts';
import { command } from './command.ts';

/** npm run create-audit-keys -- FILE: makes a file with one new key for AUDIT_KEYS_FILE; refuses to overwrite. */
await command(async () => {
  const [file] = process.argv.slice(2);
  if (!file) throw new Error('Usage: npm run create-audit-keys -- audit-keys.json');
  if (
    await access(file).then(
      () => true,
      () => false,
    )
  )
    throw new Error(
      `${file} exists already: nothing was changed. To put a new key into it: npm run rotate-audit-keys -- ${file}`,
    );
  await createSealKeyFile(file);
  return [
    `A new key that seals the audit log is in ${file}. Give every instance the same file: AUDIT_KEYS_FILE=${file}`,
    'Keep a copy where nobody who owns the database gets at it: seals can be verified as long as it is there.',
  ].join('\n');
});
