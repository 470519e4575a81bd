import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { brokenInvariants, openSlots, people, person } from '../../test/support/people.ts';
import { clientsOf, outcomeOf } from '../../test/support/process-client.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

test("a slot that nobody has is never said to be taken, while the patient's other booking at that time is being cancelled", async () => {
  const { booking } = clientsOf(server).grpc;
  const [one, other] = await people(server, 'DOCTOR', 2);
  const patient = await person(server, 'PATIENT');
  const rounds = { count: 80, minutes: 10 };
  const held = await openSlots(server, one?.id ?? '', rounds);
  const wanted = await openSlots(server, other?.id ?? '', rounds);
  const told = new Set<string>();
  for (const [i, { id }] of wanted.entries()) {
    const before = await booking.bookSlot({ requestId: randomUUID(), slotId: held[i]?.id ?? '' }, patient);
    const [{ reason }] = await Promise.all([
      outcomeOf(patient, (as) => booking.bookSlot({ requestId: randomUUID(), slotId: id }, as)),
      sleep(i % 8).then(() =>
        booking.cancelBooking({ requestId: randomUUID(), bookingId: before.booking?.id ?? '' }, one),
      ),
    ]);
    told.add(reason);
  }
  expect([...told].filter((reason) => reason !== 'OK' && reason !== 'PATIENT_BUSY')).toEqual([]);
  expect(await brokenInvariants(server)).toEqual({});
});
