import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { create } from '@bufbuild/protobuf';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import { SignUpRequestSchema } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { refuseCommonPassword } from '../auth/common-password.ts';
import { findByEmail } from '../auth/find-account.ts';
import { createPasswordHasher } from '../auth/password.ts';
import { makeAccount } from '../auth/sign-up.ts';
import { checkTimeZone } from '../auth/time-zone.ts';
import { readConfig } from '../config.ts';
import { openDatabase } from '../database.ts';
import { serverCall } from '../demo-clinic.ts';
import { Fault } from '../fault.ts';
import { messageCheck } from '../rpc/validate.ts';
import { createUnits } from '../server.ts';
import { command } from './command.ts';

const USAGE =
  'Usage: npm run create-admin -- --email you@example.com [--name "Your Name"] [--time-zone Asia/Kolkata] [--if-missing] < password.txt';

/**
 * npm run create-admin: makes an administrator; the password comes from standard input. Works beside a running server. With
 * --if-missing an administrator who is there already is left as they are, and that is no failure: for what runs at each start.
 */
await command(async () => {
  const account = await readAccount();
  const config = readConfig({ serving: false });
  const passwordHash = await createPasswordHasher().hash(account.password);
  const database = await openDatabase(config, { share: true });
  const units = createUnits({ ...config, orm: database.orm });
  const call = serverCall('CreateAdministrator');
  try {
    const { email, displayName, timeZone } = account;
    await units.write(call, (work) =>
      makeAccount(work, { email, displayName, timeZone, passwordHash, role: 'ADMINISTRATOR' }),
    );
    return `${email} is an administrator now.`;
  } catch (error) {
    if (!account.ifMissing || !(error instanceof Fault) || error.reason !== 'EMAIL_TAKEN') throw error;
    const found = await units.read(call.signal, (em) => findByEmail(em, account.email));
    if (found?.role !== 'ADMINISTRATOR')
      throw new Error(`${account.email} has an account already, and not an administrator's: choose another address.`);
    return `${account.email} is an administrator already: nothing was changed.`;
  } finally {
    await database.close();
  }
});

/** The account asked for, held to the rules of SignUp. */
async function readAccount() {
  const { values } = parseArgs({
    options: {
      email: { type: 'string' },
      name: { type: 'string' },
      'time-zone': { type: 'string' },
      'if-missing': { type: 'boolean', default: false },
    },
  });
  const email = values.email ?? '';
  if (!email) throw new Error(USAGE);
  if (process.stdin.isTTY) process.stderr.write('Password, 15 to 128 characters, then Enter and Ctrl-D: ');
  const password = (await text(process.stdin)).replace(/\r?\n$/, '');
  const displayName = values.name ?? 'Administrator';
  messageCheck()(
    SignUpRequestSchema,
    create(SignUpRequestSchema, { email, password, displayName, role: Role.PATIENT }),
  );
  refuseCommonPassword('password', password, { email, displayName });
  const timeZone = checkTimeZone('time_zone', values['time-zone'] ?? '');
  return { email, password, displayName, timeZone, ifMissing: values['if-missing'] };
}
