import { addKey, retireKeys } from '../auth/rotate-key-file.ts';
import { command } from './command.ts';

const USAGE =
  'Usage: npm run rotate-keys -- keys.json, and a quarter of an hour later npm run rotate-keys -- keys.json --finish';

/** npm run rotate-keys -- FILE [--finish]: puts a new key into the file of JWT_KEYS_FILE; with --finish takes the older ones out. */
await command(async () => {
  const [file, ...rest] = process.argv.slice(2);
  const [option] = rest;
  if (!file || file.startsWith('-') || rest.length > 1 || (option && option !== '--finish')) throw new Error(USAGE);
  if (option) {
    const [kid] = await retireKeys(file, new Date());
    return `${file} holds one key, ${kid}. Instances forget the others by themselves.`;
  }
  const [kid, ...older] = await addKey(file);
  return [
    `${file} has a new key in front, ${kid}, and ${older.length} older. Give it to every instance that has a copy; none needs a restart.`,
    `The new key signs within two minutes. In a quarter of an hour: npm run rotate-keys -- ${file} --finish`,
  ].join('\n');
});
