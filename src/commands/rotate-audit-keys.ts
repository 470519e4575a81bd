import { rotateSealKeys } from '../audit/seal-keys.ts';
import { command } from './command.ts';

/** npm run rotate-audit-keys -- FILE: puts a new key into the file of AUDIT_KEYS_FILE; the older ones then only verify. */
await command(async () => {
  const [file, ...rest] = process.argv.slice(2);
  if (!file || file.startsWith('-') || rest.length)
    throw new Error('Usage: npm run rotate-audit-keys -- audit-keys.json');
  const [kid, ...older] = await rotateSealKeys(file);
  return [
    `${file} has a new key in front, ${kid}, which signs from the next seal on, and ${older.length} older that only verify.`,
    'Give it to every instance that has a copy; none needs a restart. Keep a copy of it, and destroy copies of the old file.',
  ].join('\n');
});
