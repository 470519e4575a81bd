import { readConfig } from '../config.ts';
import { unreachable } from '../database.ts';
import { migrate } from '../db/migrate.ts';
import { command } from './command.ts';

/** npm run migrate: brings the schema of DATABASE_URL up to this build. */
await command(async () => {
  const { databaseUrl } = readConfig({ serving: false });
  if (!databaseUrl) return 'DATABASE_URL is not set: the embedded database migrates itself when the server starts.';
  const ran = await migrate(databaseUrl).catch((error) => {
    throw unreachable(error);
  });
  return ran.length ? `Migrated: ${ran.join(', ')}.` : 'Nothing to migrate: the schema is up to date.';
});
