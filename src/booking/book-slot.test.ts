import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { SlotAlternativesSchema } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { brokenInvariants, openSlots, people, person } from '../../test/support/people.ts';
import { clientsOf, outcomeOf, tally } from '../../test/support/process-client.ts';
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

test('the late ones of a crowd are offered the same slots as who comes when it is over, none of them begun', async () => {
  const { booking } = clientsOf(server).grpc;
  const doctor = await person(server, 'DOCTOR');
  const slots = await openSlots(server, doctor.id, { count: 6 });
  server.shift(100 * 60_000); // the first two have begun: 60 and 90 minutes from now
  const patients = await people(server, 'PATIENT', 12);
  const ask = (by: (typeof patients)[number]) =>
    outcomeOf(by, (as) => booking.bookSlot({ requestId: randomUUID(), slotId: slots[2]?.id ?? '' }, as));
  const crowd = await Promise.all(patients.map(ask));
  const late = await ask(await person(server, 'PATIENT'));
  server.shift(0);
  expect(tally(crowd)).toEqual({ OK: 1, SLOT_TAKEN: 11 });
  const offered = [...crowd, late]
    .filter(({ error }) => error)
    .map(({ error }) => error?.findDetails(SlotAlternativesSchema)[0]?.slots.map(({ id }) => id));
  expect(offered).toEqual(Array(12).fill([3, 4, 5].map((i) => slots[i]?.id)));
});
