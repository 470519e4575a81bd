import { randomUUIDv7 as uuid } from 'node:crypto';
import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Clients, clientsOf, query, reasonOf } from '../../test/support/calls.ts';
import { openSlots, type Person, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';
import type { Slot } from './slot.entity.ts';

const HOUR = 3_600_000;

let server: TestServer;
let clients: Clients;
let admin: Person;

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
  admin = await person(server, 'ADMINISTRATOR');
});

afterAll(() => server.stop());

type Ask = Parameters<Clients['availability']['searchDoctors']>[0];

const search = async (ask: Ask) => (await clients.availability.searchDoctors({ pageSize: 250, ...ask })).doctors;
const names = async (ask: Ask) => (await search(ask)).map(({ displayName }) => displayName);

async function doctor(displayName: string, profile: { specialties?: string[]; languages?: string[] } = {}) {
  const made = await person(server, 'DOCTOR', displayName);
  await clients.availability.updateDoctorProfile({ doctor: profile as never }, made);
  return made;
}

async function walk(ask: Ask, pageSize: number): Promise<string[]> {
  const found: string[] = [];
  let pageToken = '';
  do {
    const page = await clients.availability.searchDoctors({ ...ask, pageSize, pageToken });
    found.push(...page.doctors.map(({ id }) => id));
    pageToken = page.nextPageToken;
  } while (pageToken);
  return found;
}

describe('by name', () => {
  const CLINIC = [
    'Dr. Ananya Sharma',
    'Dr. Sharmila Tagore',
    'Dr. Rohan Mehta',
    'Dr. Farhan Qureshi',
    'Dr. Lakshmi Iyer',
    'Dr. José Álvarez',
  ];

  beforeAll(() => Promise.all(CLINIC.map((name) => doctor(name))));

  test.each([
    ['the whole name', 'Dr. Rohan Mehta', 'Dr. Rohan Mehta'],
    ['one of its words', 'mehta', 'Dr. Rohan Mehta'],
    ['its beginning', 'laksh', 'Dr. Lakshmi Iyer'],
    ['its middle', 'uresh', 'Dr. Farhan Qureshi'],
    ['a single letter that only one has', 'q', 'Dr. Farhan Qureshi'],
    ['other letter case', 'ÁLVAREZ', 'Dr. José Álvarez'],
    ['blanks around it', '  mehta ', 'Dr. Rohan Mehta'],
    ['a wrong last letter', 'mehtu', 'Dr. Rohan Mehta'],
    ['a wrong letter in the middle', 'meita', 'Dr. Rohan Mehta'],
    ['a wrong letter of seven', 'qurishi', 'Dr. Farhan Qureshi'],
    ['a missing letter', 'lakhmi', 'Dr. Lakshmi Iyer'],
    ['a letter too many', 'qurreshi', 'Dr. Farhan Qureshi'],
  ])('%s finds the doctor, first', async (_, query, expected) => {
    expect((await names({ query }))[0]).toBe(expected);
  });

  test('the best match comes first', async () => {
    expect((await names({ query: 'sharma' })).slice(0, 2)).toEqual(['Dr. Ananya Sharma', 'Dr. Sharmila Tagore']);
    expect((await names({ query: 'sharmila' }))[0]).toBe('Dr. Sharmila Tagore');
  });

  test('without a query, by name', async () => {
    const all = (await names({})).filter((name) => CLINIC.includes(name));
    expect(all).toEqual([
      'Dr. Ananya Sharma',
      'Dr. Farhan Qureshi',
      'Dr. José Álvarez',
      'Dr. Lakshmi Iyer',
      'Dr. Rohan Mehta',
      'Dr. Sharmila Tagore',
    ]);
  });

  test('what nobody is called finds nobody', async () => {
    expect(await names({ query: 'zebulon' })).toEqual([]);
  });

  test.each([
    '%',
    '_',
    '%%',
    '\\',
    "'",
    '%mehta',
    'm_hta%x',
    '\\%',
    '--',
    '"; DROP TABLE doctor; --',
    '$1',
    '{}',
    '((',
  ])('signs are letters, nothing more: %s', async (query) => {
    const found = await names({ query });
    expect(found.filter((name) => !name.includes('Mehta'))).toEqual([]);
    if (!query.includes('m')) expect(found).toEqual([]);
  });

  test.each([
    ['डॉ. अनन्या शर्मा', 'अनन्या शरमा'],
    ['டாக்டர் லட்சுமி ஐயர்', 'லட்சுமி அய்யர்'],
    ['Доктор Алексей Иванов', 'алексей ивонов'],
  ])('misspelt names are found in every script: %s', async (name, query) => {
    await doctor(name);
    expect(await names({ query })).toEqual([name]);
  });

  test('signs that are part of a name find it', async () => {
    await Promise.all([doctor('Dr. 100% Sure'), doctor('Dr. Under_score'), doctor('Dr. Back\\slash')]);
    expect(await names({ query: '%' })).toEqual(['Dr. 100% Sure']);
    expect(await names({ query: 'r_s' })).toEqual(['Dr. Under_score']);
    expect(await names({ query: 'k\\s' })).toEqual(['Dr. Back\\slash']);
  });
});

describe('by what they do and speak', () => {
  beforeAll(() =>
    Promise.all([
      doctor('Dr. Skin', { specialties: ['Dermatology', 'Ayurveda'], languages: ['en', 'hi'] }),
      doctor('Dr. Child', { specialties: ['Pædiatrics', 'ÖKOLOGIE'], languages: ['hi'] }),
    ]),
  );

  test.each<[Ask, string[]]>([
    [{ specialty: 'Dermatology' }, ['Dr. Skin']],
    [{ specialty: 'dERMATOLOGY ' }, ['Dr. Skin']],
    [{ specialty: 'PÆDIATRICS' }, ['Dr. Child']],
    [{ specialty: 'ökologie' }, ['Dr. Child']],
    [{ specialty: 'Derma' }, []],
    [{ specialty: '%' }, []],
    [{ language: 'HI' }, ['Dr. Child', 'Dr. Skin']],
    [{ language: 'h' }, []],
    [{ specialty: 'ayurveda', language: 'hi' }, ['Dr. Skin']],
    [{ specialty: 'ayurveda', language: 'ta' }, []],
    [{ specialty: 'ayurveda', query: 'skin' }, ['Dr. Skin']],
    [{ specialty: 'ayurveda', query: 'child' }, []],
  ])('%o', async (ask, expected) => {
    expect(await names(ask)).toEqual(expected);
  });
});

describe('by open times', () => {
  let early: Person;
  let late: Person;
  let slots: Slot[];
  const between = (from?: Date, until?: Date): Ask => ({
    specialty: 'horology',
    ...(from && { openFrom: timestampFromDate(from) }),
    ...(until && { openUntil: timestampFromDate(until) }),
  });
  const found = async (ask: Ask) =>
    (await search(ask)).map(({ displayName, nextOpenTime }) => [
      displayName,
      nextOpenTime && timestampDate(nextOpenTime),
    ]);

  beforeAll(async () => {
    const profile = { specialties: ['Horology'] };
    [early, late] = [await doctor('A. Early', profile), await doctor('B. Late', profile)];
    await doctor('C. Never', profile);
    slots = [
      ...(await openSlots(server, early.id, { count: 3, inMinutes: 60 })),
      ...(await openSlots(server, late.id, { count: 1, inMinutes: 600 })),
    ];
  });

  const at = (index: number, ms = 0) => new Date((slots[index] as Slot).startAt.getTime() + ms);

  test('unasked, all are found, each with its next open time', async () => {
    expect(await found(between())).toEqual([
      ['A. Early', at(0)],
      ['B. Late', at(3)],
      ['C. Never', undefined],
    ]);
  });

  test('asked, only who has one in the range, and that one is told', async () => {
    expect(await found(between(at(0)))).toEqual([
      ['A. Early', at(0)],
      ['B. Late', at(3)],
    ]);
    expect(await found(between(at(0, 1)))).toEqual([
      ['A. Early', at(1)],
      ['B. Late', at(3)],
    ]);
    expect(await found(between(at(1), at(2)))).toEqual([['A. Early', at(1)]]);
    expect(await found(between(at(0, 1), at(1)))).toEqual([]);
    expect(await found(between(undefined, at(0)))).toEqual([]);
    expect(await found(between(undefined, at(0, 1)))).toEqual([['A. Early', at(0)]]);
    expect(await found(between(at(2, 1), at(3)))).toEqual([]);
    expect(await found(between(at(3)))).toEqual([['B. Late', at(3)]]);
  });

  test('a range of the past holds nothing that can be booked', async () => {
    expect(await found(between(new Date(Date.now() - 48 * HOUR), new Date(Date.now() - 24 * HOUR)))).toEqual([]);
  });

  test('booked, withdrawn and begun times are not open', async () => {
    const [first, second, third] = slots as [Slot, Slot, Slot];
    await clients.booking.bookSlot({ requestId: uuid(), slotId: first.id }, await person(server, 'PATIENT'));
    expect((await found(between()))[0]).toEqual(['A. Early', at(1)]);
    await clients.availability.withdrawSlot({ requestId: uuid(), slotId: second.id }, early);
    expect((await found(between()))[0]).toEqual(['A. Early', at(2)]);
    const { doctor } = await clients.availability.getDoctor({ doctorId: early.id });
    expect(doctor?.nextOpenTime).toEqual(timestampFromDate(third.startAt));
    server.shift(third.startAt.getTime() - Date.now() + 1_000);
    try {
      expect((await found(between()))[0]).toEqual(['A. Early', undefined]);
    } finally {
      server.shift(0);
    }
  });
});

test('doctors who are pending or suspended, or whose account is, are not found', async () => {
  const profile = { specialties: ['Invisibility'] };
  const [pending, suspended, account, seen] = [
    await doctor('Dr. Pending', profile),
    await doctor('Dr. Suspended', profile),
    await doctor('Dr. Account', profile),
    await doctor('Dr. Seen', profile),
  ];
  await query(server, sql`UPDATE doctor SET state = 'PENDING' WHERE user_id = ${pending.id}`);
  await clients.admin.suspendDoctor({ doctorId: suspended.id }, admin);
  await clients.admin.suspendUser({ userId: account.id }, admin);
  expect((await search({ specialty: 'invisibility' })).map(({ id }) => id)).toEqual([seen.id]);
  for (const { id } of [pending, suspended, account])
    expect(await reasonOf(clients.availability.getDoctor({ doctorId: id }))).toBe('DOCTOR_NOT_FOUND');
});

describe('pages', () => {
  const LETTERS = ['a', 'A', 'ab', 'ä', ' ', '%', '_', '\\', "'", '"', '-', 'z', 'Z', '.', 'é', 'अ', '9', '\u{1F600}'];
  const SPECIALTY = 'paging';

  test('hold every match once, in the order of one long page, whatever the names and the question', async () => {
    const name = fc
      .array(fc.constantFrom(...LETTERS), { minLength: 1, maxLength: 6 })
      .map((letters) => `x${letters.join('')}`);
    const [made] = fc.sample(fc.array(name, { minLength: 60, maxLength: 60 }), 1);
    await Promise.all((made as string[]).map((displayName) => doctor(displayName, { specialties: [SPECIALTY] })));
    const part = fc.array(fc.constantFrom('x', ...LETTERS), { maxLength: 3 }).map((letters) => letters.join(''));
    await fc.assert(
      fc.asyncProperty(part, fc.integer({ min: 1, max: 61 }), async (query, size) => {
        const ask = { query, specialty: SPECIALTY };
        const whole = await search(ask);
        const paged = await walk(ask, size);
        expect(paged).toEqual(whole.map(({ id }) => id));
        expect(new Set(paged).size).toBe(paged.length);
        const wanted = query.trim().toLowerCase();
        const containing = (made as string[]).filter((one) => one.trim().toLowerCase().includes(wanted));
        expect(whole.length).toBeGreaterThanOrEqual(containing.length);
        expect(whole.map(({ displayName }) => displayName)).toEqual(
          expect.arrayContaining(containing.map((one) => one.trim())),
        );
      }),
      { numRuns: 25 },
    );
  });

  test('a token is good for its own question only', async () => {
    const ask = { specialty: SPECIALTY, pageSize: 10 };
    const { nextPageToken: pageToken } = await clients.availability.searchDoctors(ask);
    expect(pageToken).not.toBe('');
    const changes: Ask[] = [
      { query: 'x' },
      { specialty: '' },
      { language: 'en' },
      { openFrom: timestampFromDate(new Date()) },
      { pageToken: `${pageToken}A` },
    ];
    for (const change of changes)
      expect(await reasonOf(clients.availability.searchDoctors({ ...ask, pageToken, ...change }))).toBe(
        'PAGE_TOKEN_INVALID',
      );
  });
});

test('doctors with much to say of themselves come in several pages, whatever size was asked', async () => {
  const bio = 'अ'.repeat(2_000);
  const ids = Array.from({ length: 251 }, () => uuid());
  await query(
    server,
    sql`INSERT INTO app_user SELECT id, id || '@example.test', '', 'Verbose', 'DOCTOR', 'ACTIVE', 'UTC', 0, NULL, now(), now() FROM unnest(${ids}::uuid[]) id`,
  );
  await query(
    server,
    sql`INSERT INTO doctor SELECT id, '{}', '{}', '{xx}', '{xx}', ${bio}, 'ACTIVE', now(), now() FROM unnest(${ids}::uuid[]) id`,
  );
  expect((await walk({ language: 'xx' }, 250)).sort()).toEqual(ids.sort());
});
