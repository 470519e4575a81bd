import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import { UserState } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { DoctorState } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { type Clients, clientsOf, query, reasonOf } from '../../test/support/calls.ts';
import { type Person, people, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';

let server: TestServer;
let clients: Clients;
let admin: Person;

/** Everybody by name, in the order in which the accounts were made. */
const CLINIC = [
  'Asha Admin',
  'Priya Patient',
  'Suspended Patient',
  'Active Doctor',
  'Pending Doctor',
  'Suspended Doctor',
];

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
  admin = await person(server, 'ADMINISTRATOR', 'Asha Admin');
  await person(server, 'PATIENT', 'Priya Patient');
  const patient = await person(server, 'PATIENT', 'Suspended Patient');
  await person(server, 'DOCTOR', 'Active Doctor');
  const pending = await person(server, 'DOCTOR', 'Pending Doctor');
  const doctor = await person(server, 'DOCTOR', 'Suspended Doctor');
  await clients.admin.suspendUser({ userId: patient.id }, admin);
  await query(server, sql`UPDATE doctor SET state = 'PENDING' WHERE user_id = ${pending.id}`);
  await clients.admin.suspendDoctor({ doctorId: doctor.id }, admin);
  await query(server, sql`UPDATE app_user SET email = 'priya_100%@clinic.test' WHERE display_name = 'Priya Patient'`);
});

afterAll(() => server.stop());

type Ask = Parameters<Clients['admin']['listUsers']>[0];

const listed = async (ask: Ask) =>
  (await clients.admin.listUsers(ask, admin)).users.map(({ displayName }) => displayName);

describe('accounts', () => {
  test('are listed newest first', async () => {
    expect(await listed({})).toEqual(CLINIC.toReversed());
  });

  test('with what an administrator needs to know, and no secret', async () => {
    const { users } = await clients.admin.listUsers({ query: 'pending' }, admin);
    expect(users).toMatchObject([
      {
        displayName: 'Pending Doctor',
        role: Role.DOCTOR,
        state: UserState.ACTIVE,
        doctorState: DoctorState.PENDING,
        timeZone: 'UTC',
      },
    ]);
    expect(users[0]?.email).toMatch(/@example\.test$/);
    const [patient] = (await clients.admin.listUsers({ query: 'priya' }, admin)).users;
    expect(patient?.doctorState).toBe(DoctorState.UNSPECIFIED);
  });

  test.each<[Ask, string[]]>([
    [{ role: Role.PATIENT }, ['Suspended Patient', 'Priya Patient']],
    [{ role: Role.ADMINISTRATOR }, ['Asha Admin']],
    [{ state: UserState.SUSPENDED }, ['Suspended Patient']],
    [{ doctorState: DoctorState.PENDING }, ['Pending Doctor']],
    [{ doctorState: DoctorState.SUSPENDED }, ['Suspended Doctor']],
    [{ role: Role.DOCTOR, doctorState: DoctorState.ACTIVE }, ['Active Doctor']],
    [{ role: Role.PATIENT, doctorState: DoctorState.ACTIVE }, []],
    [{ role: Role.PATIENT, state: UserState.ACTIVE }, ['Priya Patient']],
    [{ query: 'SUSPENDED' }, ['Suspended Doctor', 'Suspended Patient']],
    [{ query: 'nding doc' }, ['Pending Doctor']],
    [{ query: '  priya ' }, ['Priya Patient']],
    [{ query: '@CLINIC' }, ['Priya Patient']],
    [{ query: 'suspended', role: Role.DOCTOR }, ['Suspended Doctor']],
    [{ query: '%' }, ['Priya Patient']],
    [{ query: '_100%' }, ['Priya Patient']],
    [{ query: 'a%a' }, []],
    [{ query: '\\' }, []],
    [{ query: "'" }, []],
  ])('%o', async (ask, expected) => {
    expect(await listed(ask)).toEqual(expected);
  });
});

describe('pages', () => {
  test('hold everybody once, newest first, also when more sign up meanwhile', async () => {
    const before = await listed({ pageSize: 250 });
    const found: string[] = [];
    let pageToken = '';
    do {
      const page = await clients.admin.listUsers({ pageSize: 4, pageToken }, admin);
      found.push(...page.users.map(({ displayName }) => displayName));
      ({ nextPageToken: pageToken } = page);
      await person(server, 'PATIENT', 'Latecomer');
    } while (pageToken);
    expect(found).toEqual(before);
  });

  test('have 50 by default; a token is good for its own conditions only', async () => {
    await people(server, 'PATIENT', 60);
    const { users, nextPageToken: pageToken } = await clients.admin.listUsers({ role: Role.PATIENT }, admin);
    expect(users).toHaveLength(50);
    expect((await clients.admin.listUsers({ role: Role.PATIENT, pageSize: 10, pageToken }, admin)).users).toHaveLength(
      10,
    );
    for (const ask of [{}, { role: Role.DOCTOR }, { role: Role.PATIENT, query: 'a' }])
      expect(await reasonOf(clients.admin.listUsers({ ...ask, pageToken }, admin))).toBe('PAGE_TOKEN_INVALID');
  });
});
