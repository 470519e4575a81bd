import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type ClientProject, clientProject, PACKAGE } from './support/client-project.ts';
import { openSlots, person } from './support/people.ts';
import { startServer, type TestServer } from './support/server.ts';

let project: ClientProject;
let server: TestServer;

beforeAll(async () => {
  [project, server] = await Promise.all([
    clientProject(['@bufbuild/protobuf', '@grpc/grpc-js', '@types/node']),
    startServer(),
  ]);
});

afterAll(async () => {
  await server?.stop();
  await project?.remove();
});

/** What an internal service might be: it books a slot and, when that is taken, the nearest one that is open. */
const CLIENT = `
import { AvailabilityService, BookingService, createGrpcClient, RpcError, status } from '${PACKAGE}';
import { Role } from '${PACKAGE}/access';
import { type Figures } from '${PACKAGE}/admin';
import { UserState } from '${PACKAGE}/auth';
import { SlotState } from '${PACKAGE}/availability';
import { type Booking, BookingState, SlotAlternativesSchema } from '${PACKAGE}/booking';
import { Reason } from '${PACKAGE}/error';
import { ErrorInfoSchema } from '${PACKAGE}/rpc-details';

const [address = '', token = '', slotId = ''] = process.argv.slice(2);
const bookings = createGrpcClient(BookingService, address, { token, retry: { attempts: 3 }, deadlineMs: 10_000 });
const doctors = createGrpcClient(AvailabilityService, address);

async function book(slotId: string): Promise<Booking | undefined> {
  const { booking } = await bookings.bookSlot({ requestId: crypto.randomUUID(), slotId });
  return booking;
}

try {
  await book(slotId);
} catch (error) {
  if (!(error instanceof RpcError) || error.code !== status.FAILED_PRECONDITION) throw error;
  if (error.reason !== 'SLOT_TAKEN' || error.details(ErrorInfoSchema)[0]?.reason !== 'SLOT_TAKEN') throw error;
  const [nearest] = error.details(SlotAlternativesSchema)[0]?.slots ?? [];
  const { slot } = await doctors.getSlot({ slotId: nearest?.id });
  const booking = await book(slot?.id ?? '');
  const facts = [slot?.state === SlotState.OPEN, booking?.state === BookingState.CONFIRMED, booking?.slotId];
  console.log(JSON.stringify(facts), Reason.SLOT_TAKEN, Role.PATIENT, UserState.ACTIVE);
}
bookings.close();
doctors.close();

export function misuse(figures: Figures): bigint {
  // @ts-expect-error: no such field.
  void bookings.bookSlot({ slot: slotId });
  // @ts-expect-error: no such method.
  void bookings.bookAll({});
  // @ts-expect-error: an id is text.
  void doctors.getSlot({ slotId: 7 });
  return figures.bookingsMade;
}
`;

test.each([
  ['nodenext', 'nodenext'],
  ['preserve', 'bundler'],
])('an installed package type-checks, module %s, resolution %s', async (module, moduleResolution) => {
  await project.write('client.ts', CLIENT);
  const compilerOptions = { module, moduleResolution, target: 'es2022', strict: true, types: ['node'], noEmit: true };
  await project.write(`${module}.json`, JSON.stringify({ compilerOptions, files: ['client.ts'] }));
  expect(await project.run('node_modules/.bin/tsc', ['-p', `${module}.json`])).toBe('');
});

test('an installed package runs: a slot that is taken, and the nearest one instead', async () => {
  const doctor = await person(server, 'DOCTOR');
  const [first, second] = [await person(server, 'PATIENT'), await person(server, 'PATIENT')];
  const slots = await openSlots(server, doctor.id, { count: 2 });
  await project.write('client.ts', CLIENT);
  const compile = ['--module', 'nodenext', '--target', 'es2022', '--types', 'node', '--outDir', 'out', 'client.ts'];
  await project.run('node_modules/.bin/tsc', ['--ignoreConfig', ...compile]);

  const run = (token: string) =>
    project.run(process.execPath, ['out/client.js', `127.0.0.1:${server.grpcPort}`, token, slots[0]?.id ?? '']);
  expect(await run(first.token)).toBe('');
  expect(await run(second.token)).toBe(`${JSON.stringify([true, true, slots[1]?.id])} 50 1 1\n`);
});

test('each part of the contract has a path of its own, and each path leads somewhere', async () => {
  const { exports } = JSON.parse(await readFile(join(project.installed, 'package.json'), 'utf8'));
  const parts = (await readdir('proto/amrutam')).map((part) => `./${part}`);
  expect(Object.keys(exports)).toEqual(expect.arrayContaining(['.', './rpc-details', ...parts]));

  const modules = Object.keys(exports).filter((path) => typeof exports[path] === 'object');
  const imports = modules.map((path) => `await import('${PACKAGE}${path.slice(1)}');`);
  const raw = ['proto/amrutam/booking/v1/booking.proto', 'third_party/proto/buf/validate/validate.proto'].map(
    (path) => `readFileSync(new URL(import.meta.resolve('${PACKAGE}/${path}')));`,
  );
  await project.write('paths.mjs', [`import { readFileSync } from 'node:fs';`, ...imports, ...raw].join('\n'));
  expect(await project.run(process.execPath, ['paths.mjs'])).toBe('');
});

test('the package holds what clients need and no more', async () => {
  const files = await readdir(project.installed, { recursive: true, withFileTypes: true });
  const paths = files
    .filter((file) => file.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(project.installed.length + 1));
  const allowed =
    /^(dist\/(client|gen\/(amrutam|google\/rpc|buf\/validate))\/.*\.(js|d\.ts)|(proto|third_party\/proto)\/.*\.proto|package\.json|README\.md|LICENSE|docs\/(clients|schedules)\.md)$/;
  expect(paths.filter((path) => !allowed.test(path) || /\.(test|fixture)\./.test(path))).toEqual([]);
});
