import { access } from 'node:fs/promises';
import { createKeyFile } from '../auth/signing-keys.ts';
import { command } from './command.ts';

/** npm run create-keys -- FILE: makes a file with one new key for JWT_KEYS_FILE; refuses to overwrite. */
await command(async () => {
  const [file] = process.argv.slice(2);
  if (!file) throw new Error('Usage: npm run create-keys -- keys.json');
  if (
    await access(file).then(
      () => true,
      () => false,
    )
  )
    throw new Error(
      `${file} exists already: nothing was changed. To put a new key into it: npm run rotate-keys -- ${file}`,
    );
  await createKeyFile(file);
  return `A new signing key is in ${file}. Give every instance the same file: JWT_KEYS_FILE=${file}`;
});
