import { createPasswordHasher } from '../auth/password.ts';
import { readConfig } from '../config.ts';
import { openDatabase } from '../database.ts';
import { publishComingWeek, seedDemoClinic } from '../demo-clinic.ts';
import { createUnits } from '../server.ts';
import { command } from './command.ts';

/** npm run seed: fills the demonstration clinic into an empty database. */
await command(async () => {
  const config = readConfig({ serving: false });
  const database = await openDatabase(config, { share: true });
  try {
    const units = createUnits({ ...config, orm: database.orm });
    if (!(await seedDemoClinic(units, createPasswordHasher(), config.demoPassword))) {
      throw new Error(
        'The database holds accounts already: nothing was changed. The demonstration clinic is only for an empty one.',
      );
    }
    await publishComingWeek(units);
    return `The demonstration clinic is there: patient@demo.test, doctor@demo.test, admin@demo.test, password ${config.demoPassword}.`;
  } finally {
    await database.close();
  }
});
