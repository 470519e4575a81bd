import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type Clients, clientsOf, query } from '../../test/support/calls.ts';
import { type MailServer, startMailServer } from '../../test/support/mail-server.ts';
import { type Postman, postman, readMail } from '../../test/support/mails.ts';
import { openSlots, type Person, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { type Sql, sql } from '../db/sql.ts';

const REASON = 'a rash that nobody should know of';
const HOUR = 60;

let server: TestServer;
let clients: Clients;
let mails: MailServer;
let post: Postman;
let doctor: Person;

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
  mails = await startMailServer();
});
afterAll(async () => {
  await server.stop();
  await mails.stop();
});
beforeEach(async () => {
  await query(server, sql`DELETE FROM mail`);
  await query(server, sql`UPDATE booking SET state = 'CANCELLED', cancelled_by_role = 'PATIENT'`);
  post = await postman(server.orm, mails);
  doctor = await person(server, 'DOCTOR', 'Dr. Ananya Rao');
});

interface Given {
  readonly inMinutes?: number;
  readonly madeHoursAgo?: number;
  readonly verified?: boolean;
  readonly name?: string;
}

/** An appointment, booked by a call, then moved back in time. */
async function appointment({ inMinutes = 23 * HOUR, madeHoursAgo = 72, verified = true, name = 'Asha' }: Given = {}) {
  const patient = await person(server, 'PATIENT', name);
  if (verified) await query(server, sql`UPDATE app_user SET email_verified_at = now() WHERE id = ${patient.id}`);
  const [slot] = await openSlots(server, doctor.id, { inMinutes });
  const request = { requestId: randomUUID(), slotId: slot?.id ?? '', reasonForVisit: REASON };
  const { booking } = await clients.booking.bookSlot(request, patient);
  const id = booking?.id ?? '';
  await query(
    server,
    sql`UPDATE booking SET created_at = now() - make_interval(hours => ${madeHoursAgo}::int) WHERE id = ${id}`,
  );
  return { id, patient, startAt: slot?.startAt as Date };
}
type Made = Awaited<ReturnType<typeof appointment>>;

async function move({ id, patient }: Made, inMinutes: number) {
  const [slot] = await openSlots(server, doctor.id, { inMinutes });
  await moveTo({ id, patient }, slot?.id ?? '');
}
const moveTo = ({ id, patient }: Pick<Made, 'id' | 'patient'>, newSlotId: string) =>
  clients.booking.rescheduleBooking({ requestId: randomUUID(), bookingId: id, newSlotId }, patient);
const mailsTo = ({ patient }: Made) => mails.received.filter(({ to }) => to === patient.email);
const statesOf = ({ id }: Made) =>
  query(server, sql`SELECT state FROM mail WHERE booking_id = ${id} ORDER BY created_at, id`).then((found) =>
    found.map(({ state }) => state),
  );

test('a patient is told with whom and when, by the own clock, and nobody is told why', async () => {
  const made = await appointment();
  await query(server, sql`UPDATE app_user SET time_zone = 'Asia/Kolkata' WHERE id = ${made.patient.id}`);
  expect(await post.remind()).toBe(1);
  await post.deliver();
  const [mail, ...more] = mailsTo(made).map(({ source }) => readMail(source));
  expect(more).toEqual([]);
  expect(mail?.headers).toMatch(/^To: Asha <.*>$/m);
  expect(mail?.headers).toMatch(/^Auto-Submitted: auto-generated$/m);
  // India has been five and a half hours ahead of UTC since 1945.
  const local = new Date(made.startAt.getTime() + 5.5 * 3_600_000);
  const months = 'January February March April May June July August September October November December'.split(' ');
  expect(mail?.text).toContain('Hello Asha,');
  expect(mail?.text).toContain('  with  Dr. Ananya Rao\n');
  expect(mail?.text).toContain(`${local.getUTCDate()} ${months[local.getUTCMonth()]} ${local.getUTCFullYear()}\n`);
  expect(mail?.text).toContain(`  at    ${local.toISOString().slice(11, 16)} GMT+05:30 (time of Asia/Kolkata)\n`);
  expect(mail?.text).not.toContain('rash');
});

test('once, however often and by however many it is looked at', async () => {
  const made = await appointment();
  const other = await postman(server.orm, mails);
  const runs = await Promise.allSettled([post.remind(), other.remind(), post.remind()]);
  expect(runs.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(0);
  await post.remind();
  await post.deliver();
  expect(await post.remind()).toBe(0);
  await post.deliver();
  expect(mailsTo(made)).toHaveLength(1);
});

describe('who gets none', () => {
  test.each<[string, Given, Sql | undefined]>([
    ['whose address may be somebody else’s', { verified: false }, undefined],
    ['who booked within the last day', { inMinutes: 23 * HOUR, madeHoursAgo: 0 }, undefined],
    ['whose appointment is further away', { inMinutes: 25 * HOUR }, undefined],
    [
      'whose appointment has begun',
      {},
      sql`start_at = now() - interval '1 minute', end_at = now() + interval '1 hour'`,
    ],
    ['whose appointment is going on', {}, sql`state = 'IN_PROGRESS'`],
    ['who has cancelled', {}, sql`state = 'CANCELLED', cancelled_by_role = 'PATIENT'`],
  ])('%s', async (_, given, change) => {
    const { id } = await appointment(given);
    if (change) await query(server, sql`UPDATE booking SET ${change} WHERE id = ${id}`);
    expect(await post.remind()).toBe(0);
  });

  test('who is suspended', async () => {
    const { patient } = await appointment();
    await query(server, sql`UPDATE app_user SET state = 'SUSPENDED' WHERE id = ${patient.id}`);
    expect(await post.remind()).toBe(0);
  });
});

test('who has checked in is reminded, if there still was none', async () => {
  const { id } = await appointment({ inMinutes: 10 });
  await query(server, sql`UPDATE booking SET state = 'CHECKED_IN' WHERE id = ${id}`);
  expect(await post.remind()).toBe(1);
});

describe('what happens between', () => {
  test('cancelled after the reminder was queued: none is sent', async () => {
    const made = await appointment();
    await post.remind();
    await clients.booking.cancelBooking({ requestId: randomUUID(), bookingId: made.id }, made.patient);
    await post.deliver();
    expect(mailsTo(made)).toEqual([]);
    expect(await statesOf(made)).toEqual(['DROPPED']);
    expect(await post.remind()).toBe(0);
  });

  test('moved after it was sent: the new time has a reminder of its own', async () => {
    const made = await appointment();
    await post.remind();
    await post.deliver();
    await move(made, 20 * HOUR);
    expect(await post.remind()).toBe(1);
    await post.deliver();
    expect(mailsTo(made)).toHaveLength(2);
    expect(await statesOf(made)).toEqual(['SENT', 'SENT']);
  });

  test('moved while it was queued, and back again: one, for the time that counts', async () => {
    const made = await appointment();
    await post.remind();
    await move(made, 20 * HOUR);
    await post.deliver();
    expect(await statesOf(made)).toEqual(['DROPPED']);
    const [old] = await query<{ id: string }>(
      server,
      sql`SELECT id FROM slot WHERE doctor_id = ${doctor.id} AND start_at = ${made.startAt}`,
    );
    await moveTo(made, old?.id ?? '');
    expect(await post.remind()).toBe(1);
    expect(await post.remind()).toBe(0);
    await post.deliver();
    expect(mailsTo(made)).toHaveLength(1);
    expect(await statesOf(made)).toEqual(['SENT']);
  });

  test('nobody was there for hours: none of an appointment that has begun', async () => {
    const made = await appointment();
    await post.remind();
    await query(server, sql`UPDATE booking SET start_at = now() - interval '1 minute' WHERE id = ${made.id}`);
    await query(
      server,
      sql`UPDATE mail SET start_at = now() - interval '1 minute', expires_at = now() - interval '1 minute'`,
    );
    await post.deliver();
    expect(mailsTo(made)).toEqual([]);
    expect(await statesOf(made)).toEqual(['FAILED']);
  });
});

test('who waits for a new password doesn’t wait for reminders', async () => {
  for (let i = 1; i <= 25; i++) await appointment({ inMinutes: 45 * i });
  expect(await post.remind()).toBe(25);
  await query(server, sql`UPDATE mail SET due_at = now() - interval '1 hour'`);
  const { email } = await person(server, 'PATIENT');
  await clients.auth.requestPasswordReset({ email });
  const before = mails.received.length;
  await post.deliver();
  const sent = mails.received.slice(before).map(({ to }) => to);
  expect(sent).toHaveLength(26);
  expect(sent.indexOf(email)).toBeLessThan(20); // in the first batch
});

test('a name is a name, even one that was never checked', async () => {
  const made = await appointment();
  await query(
    server,
    sql`UPDATE app_user SET display_name = ${'Asha\r\nBcc: everybody@example.test\r\n\r\nHello'} WHERE id = ${made.patient.id}`,
  );
  await post.remind();
  await post.deliver();
  const [{ source } = { source: '' }] = mailsTo(made);
  expect(source.split('\n\n')[0]).not.toMatch(/^Bcc:/m);
});
