import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { query } from '../../test/support/calls.ts';
import { type Person, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { serverCall } from '../demo-clinic.ts';
import { Fault } from '../fault.ts';
import { sql } from './sql.ts';
import { rows } from './statement.ts';
import type { Work } from './work.ts';

let server: TestServer;
let who: Person;
beforeAll(async () => {
  server = await startServer();
  who = await person(server, 'PATIENT', 'Before');
});
afterAll(() => server.stop());

const refusal = new Fault('USER_NOT_FOUND', 'only a test');
const rename = async ({ em, about }: Work) => {
  about({ entityType: 'user', entityId: who.id });
  await rows(em, sql`UPDATE app_user SET display_name = 'After' WHERE id = ${who.id}`);
};
const state = () =>
  query(
    server,
    sql`SELECT display_name AS name, (SELECT count(*) FROM audit_event WHERE action = 'Test' AND reason = 'USER_NOT_FOUND') AS lines
        FROM app_user WHERE id = ${who.id}`,
  );

test('a verb that throws a refusal keeps nothing, not even what it wrote by itself, and the refusal goes on record', async () => {
  const writing = server.units.write(serverCall('Test'), async (work) => {
    await rename(work);
    throw refusal;
  });
  await expect(writing).rejects.toBe(refusal);
  expect(await state()).toEqual([{ name: 'Before', lines: 1 }]);
});

test('a verb that returns a refusal keeps what it wrote, and is refused all the same', async () => {
  const writing = server.units.write(serverCall('Test'), async (work) => {
    await rename(work);
    return refusal;
  });
  await expect(writing).rejects.toBe(refusal);
  expect(await state()).toEqual([{ name: 'After', lines: 2 }]);
});
