import { randomUUIDv7 as uuid } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type DoctorSchema, DoctorState } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { BadRequestSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { type Clients, clientsOf, query, reasonOf, refusal } from '../../test/support/calls.ts';
import { type Person, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';

let server: TestServer;
let clients: Clients;

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
});

afterAll(() => server.stop());

type Profile = MessageInitShape<typeof DoctorSchema>;

const FULL = {
  displayName: 'Dr. Asha Rao',
  specialties: ['Dermatology', 'Ayurveda'],
  languages: ['en', 'hi'],
  bio: 'Skin.\nAnd hair.',
  timeZone: 'Asia/Kolkata',
};

const update = async (who: Person, doctor: Profile, paths?: string[]) =>
  (
    await clients.availability.updateDoctorProfile(
      { doctor: doctor as never, ...(paths && { updateMask: { paths } }) },
      who,
    )
  ).doctor;

async function described(): Promise<Person> {
  const doctor = await person(server, 'DOCTOR', 'Somebody');
  await update(doctor, FULL);
  return doctor;
}

describe('a profile', () => {
  test('is changed whole, and seen so by everybody', async () => {
    const doctor = await person(server, 'DOCTOR');
    const changed = await update(doctor, FULL);
    expect(changed).toMatchObject({ ...FULL, id: doctor.id, state: DoctorState.ACTIVE });
    expect((await clients.availability.getDoctor({ doctorId: doctor.id })).doctor).toEqual(changed);
    expect((await clients.auth.getCurrentUser({}, doctor)).user).toMatchObject({
      displayName: FULL.displayName,
      timeZone: FULL.timeZone,
    });
  });

  test('without a mask, what is empty stays', async () => {
    const doctor = await described();
    expect(await update(doctor, { bio: 'Hair.' })).toMatchObject({ ...FULL, bio: 'Hair.' });
    expect(await update(doctor, {})).toMatchObject({ ...FULL, bio: 'Hair.' });
  });

  test('with a mask, exactly what it names is set, empty or not', async () => {
    const doctor = await described();
    const wanted = { bio: '', specialties: [], languages: ['ta'], displayName: 'Ignored' };
    expect(await update(doctor, wanted, ['bio', 'specialties', 'languages'])).toMatchObject({
      ...FULL,
      bio: '',
      specialties: [],
      languages: ['ta'],
    });
  });

  test('with a star, all five are set', async () => {
    const doctor = await described();
    expect(await update(doctor, { displayName: 'Dr. A' }, ['*'])).toMatchObject({
      displayName: 'Dr. A',
      specialties: [],
      languages: [],
      bio: '',
      timeZone: 'UTC',
    });
  });

  test('names are kept trimmed', async () => {
    const doctor = await described();
    const changed = await update(doctor, { displayName: '  Dr. B ', specialties: [' Yoga '], languages: [' en'] });
    expect(changed).toMatchObject({ displayName: 'Dr. B', specialties: ['Yoga'], languages: ['en'] });
  });

  test('its state is not the doctor’s to change', async () => {
    const doctor = await described();
    await query(server, sql`UPDATE doctor SET state = 'PENDING' WHERE user_id = ${doctor.id}`);
    expect(await update(doctor, { ...FULL, state: DoctorState.ACTIVE })).toMatchObject({ state: DoctorState.PENDING });
    expect(await reasonOf(update(doctor, { state: DoctorState.ACTIVE }, ['state']))).toBe('FIELD_INVALID');
  });

  test.each<[string, Profile, string[] | undefined, string]>([
    ['a field that is none', {}, ['bio', 'email'], 'update_mask.paths[1]'],
    ['no name', {}, ['display_name'], 'doctor.display_name'],
    ['a zone that isn’t one', { timeZone: 'IST' }, undefined, 'doctor.time_zone'],
    ['a specialty twice', { specialties: ['Yoga', 'Yoga'] }, undefined, 'doctor.specialties'],
    ['eleven languages', { languages: [...'abcdefghijk'] }, undefined, 'doctor.languages'],
    ['a blank specialty', { specialties: [' '] }, undefined, 'doctor.specialties[0]'],
    ['a biography that is too long', { bio: 'x'.repeat(2_001) }, undefined, 'doctor.bio'],
    [
      'two specialties that differ only in letter case',
      { specialties: ['Yoga', 'yoga '] },
      undefined,
      'doctor.specialties',
    ],
    ['two languages that differ only in letter case', { languages: ['HI', 'hi'] }, undefined, 'doctor.languages'],
  ])('is refused with %s, and nothing changes', async (_, profile, paths, field) => {
    const doctor = await described();
    const { reason, error } = await refusal(update(doctor, profile, paths));
    expect(reason).toBe('FIELD_INVALID');
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe(field);
    expect((await clients.availability.getDoctor({ doctorId: doctor.id })).doctor).toMatchObject(FULL);
  });
});

describe('whose profile', () => {
  test('one’s own, with or without its id', async () => {
    const doctor = await described();
    expect(await update(doctor, { id: doctor.id, bio: 'A' })).toMatchObject({ bio: 'A' });
    expect(await update(doctor, { id: doctor.id.toUpperCase(), bio: 'B' })).toMatchObject({ bio: 'B' });
  });

  test('somebody else’s is not found', async () => {
    const [doctor, other] = [await described(), await described()];
    for (const id of [other.id, uuid()])
      expect(await reasonOf(update(doctor, { id, bio: 'A' }))).toBe('DOCTOR_NOT_FOUND');
    expect((await clients.availability.getDoctor({ doctorId: other.id })).doctor).toMatchObject(FULL);
  });

  test('patients and administrators have none', async () => {
    for (const role of ['PATIENT', 'ADMINISTRATOR'] as const)
      expect(await reasonOf(update(await person(server, role), { bio: 'A' }))).toBe('ROLE_REQUIRED');
  });
});

test('only what really changes is on record, by name and never by value', async () => {
  const doctor = await described();
  await update(doctor, { ...FULL, bio: 'Something private' });
  const lines = await query<{ changed_fields: string[] }>(
    server,
    sql`SELECT * FROM audit_event WHERE entity_id = ${doctor.id} AND action = 'UpdateDoctorProfile' ORDER BY recorded_at DESC`,
  );
  expect(lines[0]?.changed_fields).toEqual(['doctor.bio']);
  expect(JSON.stringify(lines)).not.toContain('private');
});
