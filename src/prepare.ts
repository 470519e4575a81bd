import { createPasswordHasher } from './auth/password.ts';
import type { Config } from './config.ts';
import { type Database, openDatabase } from './database.ts';
import { publishComingWeek, seedDemoClinic } from './demo-clinic.ts';
import { makeMissingKeys } from './keys.ts';
import type { Logger } from './log.ts';
import { createUnits } from './server.ts';
import { readTls } from './tls.ts';

/**
 * What is done once, however many processes will serve: opens the database, makes the keys that may be made, and fills the
 * demonstration clinic into the embedded database. Throws an Error that says what can't be used.
 */
export async function prepare(config: Config, log: Logger): Promise<Database> {
  await readTls(config); // before a database is started for nothing
  const warn = (message: string) => log.warn({ problem: message }, 'database connection');
  const database = await openDatabase(config, { warn });
  await makeMissingKeys(config);
  if (!config.rateLimits) log.warn('RATE_LIMITS is off: anybody may guess and flood as fast as they can');
  if (!config.mail) log.info('SMTP_URL is not set: no mail is sent, and nobody reminded');
  if (database.embedded) {
    const units = createUnits({ ...config, orm: database.orm });
    await seedDemoClinic(units, createPasswordHasher(), config.demoPassword);
    await publishComingWeek(units);
  }
  return database;
}
