import { expect, test } from '@jest/globals';
import type { Shelf } from '../availability/shelf.ts';
import { parseSnapshot, type Snapshot } from '../db/snapshot.ts';
import { shareReports } from './shared-reports.ts';

const at = (text: string) => parseSnapshot(text) as Snapshot;
/** What the server that instances are at shows. */
const showing = (text: string) => ({ server: 'postgres', snapshot: at(text) });
const BYTES = new Uint8Array([1, 2, 3]);

/** An instance that knows what the database shows now, and has shown a while ago. */
function instance(shelf: Shelf, { ago, server = 'postgres' }: { ago: Snapshot | undefined; server?: string }) {
  return shareReports(shelf, { latest: () => undefined, server: () => server, shownBefore: () => ago });
}

function shelf(): Shelf & { readonly texts: Map<string, string> } {
  const texts = new Map<string, string>();
  return { texts, get: async (key) => texts.get(key), put: (key, text) => void texts.set(key, text) };
}

test('a report counts while it shows all that the database showed a while ago, however long it lay there', async () => {
  const common = shelf();
  instance(common, { ago: at('1:1:') }).put('a', BYTES, showing('10:14:12'));
  const seen = async (ago: Snapshot | undefined) => (await instance(common, { ago }).get('a')) !== undefined;
  expect(await instance(common, { ago: at('10:14:12') }).get('a')).toEqual(Buffer.from(BYTES));
  expect(await seen(at('9:11:10'))).toBe(true);
  expect(await seen(at('10:15:12'))).toBe(false); // transactions have begun since
  expect(await seen(at('10:14:'))).toBe(false); // number 12 was over by then
  expect(await seen(undefined)).toBe(false); // the database can't be asked
});

test('a report of another server, of another question, or of other bytes doesn’t count', async () => {
  const common = shelf();
  const ago = at('1:1:');
  instance(common, { ago }).put('a', BYTES, showing('10:10:'));
  expect(await instance(common, { ago, server: 'another' }).get('a')).toBeUndefined();
  expect(await instance(common, { ago }).get('b')).toBeUndefined();
  const [[place, text]] = [...common.texts] as [[string, string]];
  instance(common, { ago }).put('b', BYTES, showing('10:10:'));
  for (const lie of [
    common.texts.get([...common.texts.keys()][1] as string) as string,
    `${text} `,
    text.slice(0, -1),
    '',
  ]) {
    common.texts.set(place, lie);
    expect(await instance(common, { ago }).get('a')).toBeUndefined();
  }
});
