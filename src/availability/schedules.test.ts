import { randomUUIDv7 as uuid } from 'node:crypto';
import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  PreviewOutcome,
  PreviewOutcomeSchema,
  type Slot,
  type SlotChanges,
  SlotState,
  Weekday,
} from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { BadRequestSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { type Clients, clientsOf, query, reasonOf, refusal } from '../../test/support/calls.ts';
import { brokenInvariants, openSlots, type Person, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';
import { inTransaction } from '../db/transaction.ts';
import { JOBS } from '../jobs/jobs.ts';
import { registerJobs } from '../jobs/lease.ts';
import { perform } from '../jobs/perform.ts';
import { fillAgendas } from './fill-agendas.ts';

const DAY = 86_400_000;
const KOLKATA_MS = 5.5 * 3_600_000;
const EVERY_DAY = [1, 2, 3, 4, 5, 6, 7] as const;
const { OPEN, BOOKED, WITHDRAWN } = SlotState;

let server: TestServer;
let clients: Clients;
let admin: Person;
let patient: Person;

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
  [admin, patient] = await Promise.all([person(server, 'ADMINISTRATOR'), person(server, 'PATIENT')]);
  await registerJobs(server.orm, ['make-slots']);
});

afterAll(async () => {
  expect(await brokenInvariants(server)).toEqual({});
  await server.stop();
});

type PlanAsk = NonNullable<Parameters<Clients['availability']['createSchedule']>[0]['plan']>;

/** Hours of every day, in hours of an hour each. */
const daily = (localStart: string, localEnd: string, more: object = {}) =>
  EVERY_DAY.map((weekday) => ({ weekday, localStart, localEnd, slotMinutes: 60, ...more }));

const PLAN: PlanAsk = { timeZone: 'Asia/Kolkata', windows: daily('09:00', '12:00'), advanceDays: 10 };

/** The date in India, `days` from today. */
const dateIn = (days: number) => new Date(Date.now() + KOLKATA_MS + days * DAY).toISOString().slice(0, 10);
/** A time of that date, on the clocks of India. */
const inIndia = (days: number, clock: string) => new Date(`${dateIn(days)}T${clock}:00+05:30`);

const create = (doctor: Person, plan: PlanAsk = PLAN, requestId: string = uuid()) =>
  clients.availability.createSchedule({ requestId, plan }, doctor);

const update = (doctor: Person, scheduleId: string | undefined, plan: PlanAsk, paths: string[] = []) =>
  clients.availability.updateSchedule(
    { requestId: uuid(), scheduleId, plan, ...(paths.length && { updateMask: { paths } }) },
    doctor,
  );

const close = (doctor: Person, days: number, windows: object[] = []) =>
  clients.availability.addException({ requestId: uuid(), date: dateIn(days), windows }, doctor);

async function slotsOf(doctor: Person, states: SlotState[] = [OPEN, BOOKED], from = new Date()): Promise<Slot[]> {
  const found: Slot[] = [];
  let pageToken = '';
  do {
    const ask = { doctorId: doctor.id, from: timestampFromDate(from), states, pageSize: 250, pageToken };
    const page = await clients.availability.listSlots(ask, doctor);
    found.push(...page.slots);
    pageToken = page.nextPageToken;
  } while (pageToken);
  return found;
}

const startOf = ({ startTime }: Pick<Slot, 'startTime'>) => timestampDate(startTime as NonNullable<typeof startTime>);
const startsOf = async (doctor: Person, states?: SlotState[]) => (await slotsOf(doctor, states)).map(startOf);
const onDay = (starts: Date[], days: number) =>
  starts
    .map((start) => new Date(start.getTime() + KOLKATA_MS).toISOString())
    .filter((start) => start.startsWith(dateIn(days)))
    .map((start) => start.slice(11, 16));

async function slotAt(doctor: Person, days: number, clock: string): Promise<Slot> {
  const wanted = inIndia(days, clock).getTime();
  const found = (await slotsOf(doctor)).find((slot) => startOf(slot).getTime() === wanted);
  if (!found) throw new Error(`no slot at ${clock}`);
  return found;
}

const book = (slot: Slot, by = patient) =>
  clients.booking.bookSlot({ requestId: uuid(), slotId: slot.id, reasonForVisit: 'a rash' }, by);

const withdraw = (slot: Slot, doctor: Person) =>
  clients.availability.withdrawSlot({ requestId: uuid(), slotId: slot.id }, doctor);

const cancel = (bookingId: string | undefined, by: Person) =>
  clients.booking.cancelBooking({ requestId: uuid(), bookingId, reason: 'cannot come' }, by);

const remove = (doctor: Person, exceptionId: string | undefined) =>
  clients.availability.removeException({ requestId: uuid(), exceptionId }, doctor);

const changesOf = ({ changes }: { changes?: SlotChanges | undefined }) => {
  const { made, withdrawn, bookedOutside, moreToCome } = changes as SlotChanges;
  return { made, withdrawn, bookedOutside, moreToCome };
};

/** Has the job come round for the doctor, as if that were due. */
async function jobRuns(doctor?: Person): Promise<number> {
  if (doctor) await query(server, sql`UPDATE agenda SET due_at = now() WHERE doctor_id = ${doctor.id}`);
  const job = JOBS.find(({ name }) => name === 'make-slots');
  if (!job) throw new Error('no such job');
  const { signal } = new AbortController();
  return (await perform(job, { orm: server.orm, holder: uuid(), leaseMs: 30_000, signal })).changed;
}

describe('a schedule', () => {
  test('makes its slots at once, as far ahead as it says, and everybody sees them', async () => {
    const doctor = await person(server, 'DOCTOR');
    const made = await create(doctor);
    const starts = await startsOf(doctor);
    for (let day = 1; day < 10; day++) expect(onDay(starts, day)).toEqual(['09:00', '10:00', '11:00']);
    expect(onDay(starts, 10)).toEqual([]);
    expect(starts.every((start) => start > new Date())).toBe(true);
    expect(changesOf(made)).toEqual({ made: starts.length, withdrawn: 0, bookedOutside: 0, moreToCome: false });
    const { slots } = await clients.availability.listSlots({ doctorId: doctor.id, pageSize: 250 });
    expect(slots.map(startOf)).toEqual(starts);
    await book(slots[3] as Slot, await person(server, 'PATIENT'));
  });

  test('is answered as it is kept, and got and listed so, by its doctor alone', async () => {
    const [doctor, other] = [await person(server, 'DOCTOR'), await person(server, 'DOCTOR')];
    await query(server, sql`UPDATE app_user SET time_zone = 'Asia/Kolkata' WHERE id = ${doctor.id}`);
    const window = {
      weekday: Weekday.MONDAY,
      localStart: '00:00',
      localEnd: '24:00',
      slotMinutes: 45,
      breakMinutes: 15,
    };
    const { schedule } = await create(doctor, { windows: [window] });
    expect(schedule).toMatchObject({
      doctorId: doctor.id,
      plan: { timeZone: 'Asia/Kolkata', fromDate: dateIn(0), untilDate: '', advanceDays: 60, windows: [window] },
    });
    const scheduleId = schedule?.id as string;
    expect((await clients.availability.getSchedule({ scheduleId }, doctor)).schedule).toEqual(schedule);
    expect((await clients.availability.listSchedules({}, doctor)).schedules).toEqual([schedule]);
    expect(await reasonOf(clients.availability.getSchedule({ scheduleId }, other))).toBe('SCHEDULE_NOT_FOUND');
    expect((await clients.availability.listSchedules({}, other)).schedules).toEqual([]);
    expect(await reasonOf(update(other, scheduleId, PLAN))).toBe('SCHEDULE_NOT_FOUND');
    const remove = clients.availability.deleteSchedule({ requestId: uuid(), scheduleId }, other);
    expect(await reasonOf(remove)).toBe('SCHEDULE_NOT_FOUND');
  });

  test('again, with the same request_id, is the same one', async () => {
    const doctor = await person(server, 'DOCTOR');
    const requestId = uuid();
    const first = await create(doctor, PLAN, requestId);
    expect(await create(doctor, PLAN, requestId)).toEqual(first);
    expect(await reasonOf(create(doctor, { ...PLAN, advanceDays: 11 }, requestId))).toBe('REQUEST_ID_REUSED');
    expect((await clients.availability.listSchedules({}, doctor)).schedules).toHaveLength(1);
  });

  test('is listed in pages, the oldest first', async () => {
    const doctor = await person(server, 'DOCTOR');
    const ids: (string | undefined)[] = [];
    for (let i = 0; i < 3; i++) ids.push((await create(doctor, { ...PLAN, advanceDays: 1 })).schedule?.id);
    const first = await clients.availability.listSchedules({ pageSize: 2 }, doctor);
    const rest = await clients.availability.listSchedules({ pageSize: 2, pageToken: first.nextPageToken }, doctor);
    expect([...first.schedules, ...rest.schedules].map(({ id }) => id)).toEqual(ids);
    expect(rest.nextPageToken).toBe('');
  });

  test.each<[string, PlanAsk, string]>([
    ['no window', { windows: [] }, 'plan.windows'],
    ['one over midnight', { windows: daily('22:00', '02:00') }, 'plan.windows[0].local_end'],
    ['an empty one', { windows: daily('09:00', '09:00') }, 'plan.windows[0].local_end'],
    ['a slot longer than it', { windows: daily('09:00', '09:30') }, 'plan.windows[0].slot_minutes'],
    [
      'a slot of four minutes',
      { windows: daily('09:00', '12:00', { slotMinutes: 4 }) },
      'plan.windows[0].slot_minutes',
    ],
    ['one until 24:01', { windows: daily('09:00', '24:01') }, 'plan.windows[0].local_end'],
    [
      'one at half past nine in the morning, without a nought',
      { windows: daily('9:30', '12:00') },
      'plan.windows[0].local_start',
    ],
    ['one from 25:00', { windows: daily('25:00', '26:00') }, 'plan.windows[0].local_start'],
    ['two that overlap', { windows: [...daily('09:00', '12:00'), ...daily('11:00', '13:00')] }, 'plan.windows[7]'],
    ['no such day of the week', { windows: daily('09:00', '12:00', { weekday: 8 }) }, 'plan.windows[0].weekday'],
    ['a zone that isn’t one', { ...PLAN, timeZone: 'Asia/Nowhere' }, 'plan.time_zone'],
    ['a date that isn’t on the calendar', { ...PLAN, fromDate: '2027-02-29' }, 'plan.from_date'],
    ['an end before the beginning', { ...PLAN, fromDate: '2027-02-02', untilDate: '2027-02-02' }, 'plan.until_date'],
    ['too far ahead', { ...PLAN, advanceDays: 401 }, 'plan.advance_days'],
    ['51 windows', { windows: Array.from({ length: 51 }, () => daily('09:00', '12:00')[0] as object) }, 'plan.windows'],
  ])('is refused with %s', async (_, plan, field) => {
    const doctor = await person(server, 'DOCTOR');
    const { reason, error } = await refusal(create(doctor, plan));
    expect(reason).toBe('FIELD_INVALID');
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]).toMatchObject({ field });
    expect(await slotsOf(doctor)).toEqual([]);
  });

  test('of a doctor who waits for approval makes nothing, and its slots with the approval', async () => {
    const doctor = await person(server, 'DOCTOR');
    await query(server, sql`UPDATE doctor SET state = 'PENDING' WHERE user_id = ${doctor.id}`);
    expect(changesOf(await create(doctor)).made).toBe(0);
    expect(await jobRuns(doctor)).toBe(0);
    await clients.admin.approveDoctor({ doctorId: doctor.id }, admin);
    expect((await slotsOf(doctor)).length).toBeGreaterThanOrEqual(27);
    await clients.admin.suspendDoctor({ doctorId: doctor.id }, admin);
    const scheduleId = (await clients.availability.listSchedules({}, doctor)).schedules[0]?.id;
    expect(changesOf(await update(doctor, scheduleId, { windows: daily('14:00', '16:00') }))).toMatchObject({
      made: 0,
    });
    expect(await jobRuns(doctor)).toBe(0);
    expect(await slotsOf(doctor)).toEqual([]);
    await clients.admin.approveDoctor({ doctorId: doctor.id }, admin);
    expect(onDay(await startsOf(doctor), 1)).toEqual(['14:00', '15:00']);
  });
});

describe('the job', () => {
  test('has nothing left to make where all is made, however often it runs', async () => {
    const doctor = await person(server, 'DOCTOR');
    await create(doctor);
    const before = await slotsOf(doctor);
    for (let i = 0; i < 3; i++) expect(await jobRuns(doctor)).toBe(0);
    expect(await slotsOf(doctor)).toEqual(before);
  });

  test('makes a day more when that has come, at midnight where the doctor is', async () => {
    const doctor = await person(server, 'DOCTOR');
    await create(doctor);
    const [due] = await query<{ due_at: Date }>(server, sql`SELECT due_at FROM agenda WHERE doctor_id = ${doctor.id}`);
    expect(due?.due_at).toEqual(inIndia(1, '00:00'));
    await query(server, sql`UPDATE schedule SET advance_days = 12 WHERE doctor_id = ${doctor.id}`);
    expect(await jobRuns(doctor)).toBe(6);
    expect(onDay(await startsOf(doctor), 11)).toEqual(['09:00', '10:00', '11:00']);
  });

  test('makes what was too much for one call, the nearest first', async () => {
    const doctor = await person(server, 'DOCTOR');
    const plan = { ...PLAN, windows: daily('00:00', '24:00', { slotMinutes: 20 }), advanceDays: 60 };
    const made = changesOf(await create(doctor, plan));
    expect(made).toMatchObject({ made: 500, moreToCome: true });
    expect((await startsOf(doctor)).length).toBe(500);
    expect(await jobRuns()).toBeGreaterThan(3_500);
    const starts = await startsOf(doctor);
    expect(new Set(starts.map(Number)).size).toBe(starts.length);
    expect(onDay(starts, 59)).toHaveLength(72);
    expect(await jobRuns(doctor)).toBe(0);
  });

  test('does not make again what the doctor has taken back, nor what was cancelled by the doctor', async () => {
    const doctor = await person(server, 'DOCTOR');
    const { schedule } = await create(doctor);
    await withdraw(await slotAt(doctor, 2, '10:00'), doctor);
    const someone = await person(server, 'PATIENT');
    const { booking } = await book(await slotAt(doctor, 3, '10:00'), someone);
    await clients.booking.cancelBooking({ requestId: uuid(), bookingId: booking?.id, reason: 'ill' }, doctor);
    expect(await jobRuns(doctor)).toBe(0);
    await update(doctor, schedule?.id, { windows: daily('09:30', '11:30') });
    const starts = await startsOf(doctor);
    for (const day of [2, 3]) expect(onDay(starts, day)).toEqual([]);
    expect(onDay(starts, 4)).toEqual(['09:30', '10:30']);
    await update(doctor, schedule?.id, { windows: daily('09:00', '12:00') });
    for (const day of [2, 3]) expect(onDay(await startsOf(doctor), day)).toEqual(['09:00', '11:00']);
    await create(doctor, { ...PLAN, windows: daily('10:00', '11:00') });
    for (const day of [2, 3]) expect(onDay(await startsOf(doctor), day)).toEqual(['09:00', '11:00']);
    await clients.availability.deleteSchedule({ requestId: uuid(), scheduleId: schedule?.id }, doctor);
    for (const day of [2, 3]) expect(onDay(await startsOf(doctor), day)).toEqual(['10:00']);
  });

  test('makes nothing of a younger schedule where an older one will, as the preview says', async () => {
    const doctor = await person(server, 'DOCTOR');
    await create(doctor, { ...PLAN, advanceDays: 3 });
    const younger = { ...PLAN, windows: daily('09:30', '13:30') };
    const span = { from: timestampFromDate(inIndia(5, '00:00')), until: timestampFromDate(inIndia(6, '00:00')) };
    const { slots } = await clients.availability.previewSchedule({ plan: younger, ...span }, doctor);
    const expected = slots.filter(({ outcome }) => outcome === PreviewOutcome.NEW).map(startOf);
    await create(doctor, younger);
    const starts = await startsOf(doctor);
    expect(onDay(starts, 5)).toEqual(onDay(expected, 5));
    expect(onDay(starts, 5)).toEqual(['12:30']);
    await query(server, sql`UPDATE schedule SET advance_days = 10 WHERE doctor_id = ${doctor.id}`);
    await jobRuns(doctor);
    expect(onDay(await startsOf(doctor), 5)).toEqual(['09:00', '10:00', '11:00', '12:30']);
    expect(await slotsOf(doctor, [WITHDRAWN])).toEqual([]);
  });

  test('leaves what was published by hand, and makes nothing over it', async () => {
    const doctor = await person(server, 'DOCTOR');
    const times = {
      startTime: timestampFromDate(inIndia(2, '09:30')),
      endTime: timestampFromDate(inIndia(2, '10:30')),
    };
    await clients.availability.publishSlots({ requestId: uuid(), slots: [times] }, doctor);
    const { schedule } = await create(doctor);
    expect(onDay(await startsOf(doctor), 2)).toEqual(['09:30', '11:00']);
    await close(doctor, 2);
    expect(onDay(await startsOf(doctor), 2)).toEqual(['09:30']);
    await clients.availability.deleteSchedule({ requestId: uuid(), scheduleId: schedule?.id }, doctor);
    expect(await startsOf(doctor)).toEqual([inIndia(2, '09:30')]);
  });

  test('for one whose slots cannot be made goes on with the others, and tells', async () => {
    const [broken, doctor] = [await person(server, 'DOCTOR'), await person(server, 'DOCTOR')];
    const { schedule } = await create(broken);
    await create(doctor);
    await query(server, sql`UPDATE schedule SET time_zone = 'Asia/Nowhere' WHERE id = ${schedule?.id}`);
    await query(server, sql`UPDATE schedule SET advance_days = 11 WHERE doctor_id = ${doctor.id}`);
    await query(server, sql`UPDATE agenda SET due_at = now() - interval '1 day' WHERE doctor_id = ${broken.id}`);
    await expect(jobRuns(doctor)).rejects.toThrow('ASIA/NOWHERE');
    expect(onDay(await startsOf(doctor), 10)).toEqual(['09:00', '10:00', '11:00']);
    await query(server, sql`UPDATE schedule SET time_zone = 'Asia/Kolkata' WHERE id = ${schedule?.id}`);
    await jobRuns();
  });
});

describe('the job, when there is much to do', () => {
  const step: Parameters<typeof fillAgendas>[0] = (work) =>
    inTransaction(server.orm, AbortSignal.timeout(15_000), work);
  const due = async () => (await query(server, sql`SELECT FROM agenda WHERE due_at <= now()`)).length;
  const queued = async () =>
    (await query(server, sql`DELETE FROM graphile_worker._private_jobs WHERE key = 'make-slots' RETURNING 1`)).length;

  test('lets others have their turn, and is queued to go on; errors don’t use that up', async () => {
    await jobRuns();
    const doctors = await Promise.all([1, 2, 3].map(() => person(server, 'DOCTOR')));
    for (const doctor of doctors) await create(doctor, { ...PLAN, advanceDays: 1 });
    const ids = doctors.map(({ id }) => id);
    await query(server, sql`UPDATE agenda SET due_at = now() WHERE doctor_id = ANY (${ids}::uuid[])`);
    await query(server, sql`UPDATE schedule SET time_zone = 'Asia/Nowhere' WHERE doctor_id = ${ids[0]}`);
    await query(server, sql`UPDATE agenda SET due_at = now() - interval '1 day' WHERE doctor_id = ${ids[0]}`);
    await expect(fillAgendas(step, 0)).rejects.toThrow('ASIA/NOWHERE');
    expect(await due()).toBe(2);
    expect(await queued()).toBe(0);
    await query(server, sql`UPDATE schedule SET time_zone = 'Asia/Kolkata' WHERE doctor_id = ${ids[0]}`);
    await fillAgendas(step, 0);
    expect(await due()).toBe(1);
    expect(await queued()).toBe(1);
    await fillAgendas(step);
    expect(await due()).toBe(0);
    expect(await queued()).toBe(0);
  });
});

describe('a change', () => {
  test('takes back what fits no more, makes what is new, keeps what is both, and counts what is booked', async () => {
    const doctor = await person(server, 'DOCTOR');
    const { schedule } = await create(doctor);
    const kept = await slotAt(doctor, 1, '10:00');
    const [sold, soldInside] = [await slotAt(doctor, 1, '09:00'), await slotAt(doctor, 2, '11:00')];
    for (const slot of [sold, soldInside]) await book(slot, await person(server, 'PATIENT'));
    const changed = await update(doctor, schedule?.id, { windows: daily('10:00', '13:00') });
    expect(changesOf(changed)).toMatchObject({ bookedOutside: 1 });
    const starts = await startsOf(doctor);
    expect(onDay(starts, 1)).toEqual(['09:00', '10:00', '11:00', '12:00']);
    expect(onDay(starts, 2)).toEqual(['10:00', '11:00', '12:00']);
    expect((await slotAt(doctor, 1, '10:00')).id).toBe(kept.id);
    expect((await slotsOf(doctor, [BOOKED])).map(({ id }) => id).sort()).toEqual([sold.id, soldInside.id].sort());
    expect((await slotsOf(doctor, [WITHDRAWN])).length).toBe(changesOf(changed).withdrawn);
    expect(changed.schedule?.plan).toMatchObject({ advanceDays: 10, timeZone: 'Asia/Kolkata' });
  });

  test('sets what the mask names, or without one what is not empty', async () => {
    const doctor = await person(server, 'DOCTOR');
    const { schedule } = await create(doctor, { ...PLAN, untilDate: dateIn(5) });
    expect(onDay(await startsOf(doctor), 5)).toEqual([]);
    const endless = await update(doctor, schedule?.id, { advanceDays: 3 }, ['until_date']);
    expect(endless.schedule?.plan).toEqual({ ...schedule?.plan, untilDate: '' });
    expect(onDay(await startsOf(doctor), 5)).toEqual(['09:00', '10:00', '11:00']);
    const shorter = await update(doctor, schedule?.id, { advanceDays: 3 });
    expect(shorter.schedule?.plan).toEqual({ ...schedule?.plan, untilDate: '', advanceDays: 3 });
    expect(onDay(await startsOf(doctor), 5)).toEqual([]);
    expect(await reasonOf(update(doctor, schedule?.id, {}, ['windows', 'doctor_id']))).toBe('FIELD_INVALID');
    expect(await reasonOf(update(doctor, schedule?.id, {}, ['windows']))).toBe('FIELD_INVALID');
    const all = await update(doctor, schedule?.id, { windows: daily('08:00', '09:00') }, ['*']);
    expect(all.schedule?.plan).toMatchObject({ timeZone: 'UTC', advanceDays: 60, untilDate: '' });
  });

  test('and its taking back is undone by the next change', async () => {
    const doctor = await person(server, 'DOCTOR');
    const { schedule } = await create(doctor);
    const before = await startsOf(doctor);
    await update(doctor, schedule?.id, { windows: daily('14:00', '15:00') });
    await update(doctor, schedule?.id, { windows: daily('09:00', '12:00') });
    expect(await startsOf(doctor)).toEqual(before);
  });

  test('to another zone moves the slots', async () => {
    const doctor = await person(server, 'DOCTOR');
    const { schedule } = await create(doctor, { ...PLAN, timeZone: 'UTC' });
    await update(doctor, schedule?.id, { timeZone: 'asia/kolkata' });
    expect(onDay(await startsOf(doctor), 2)).toEqual(['09:00', '10:00', '11:00']);
  });

  test('deleting takes all open slots back, for good', async () => {
    const doctor = await person(server, 'DOCTOR');
    const { schedule } = await create(doctor);
    const sold = await slotAt(doctor, 1, '09:00');
    await book(sold, await person(server, 'PATIENT'));
    const scheduleId = schedule?.id as string;
    const requestId = uuid();
    const gone = await clients.availability.deleteSchedule({ requestId, scheduleId }, doctor);
    expect(changesOf(gone)).toMatchObject({ made: 0, bookedOutside: 1 });
    expect((await slotsOf(doctor)).map(({ id }) => id)).toEqual([sold.id]);
    expect(await clients.availability.deleteSchedule({ requestId, scheduleId }, doctor)).toEqual(gone);
    expect(await reasonOf(clients.availability.getSchedule({ scheduleId }, doctor))).toBe('SCHEDULE_NOT_FOUND');
    expect(await reasonOf(update(doctor, scheduleId, PLAN))).toBe('SCHEDULE_NOT_FOUND');
    expect(await jobRuns(doctor)).toBe(0);
  });

  test('that ends a schedule leaves nothing on offer when a patient cancels afterwards', async () => {
    const doctor = await person(server, 'DOCTOR');
    const { schedule } = await create(doctor);
    const patient = await person(server, 'PATIENT');
    const { booking } = await book(await slotAt(doctor, 2, '09:00'), patient);
    await clients.availability.deleteSchedule({ requestId: uuid(), scheduleId: schedule?.id }, doctor);
    await cancel(booking?.id, patient);
    expect(await slotsOf(doctor)).toEqual([]);
  });
});

describe('an exception', () => {
  test('closes a date, and gives it back when it is removed', async () => {
    const doctor = await person(server, 'DOCTOR');
    await create(doctor);
    await book(await slotAt(doctor, 2, '09:00'), await person(server, 'PATIENT'));
    const closed = await close(doctor, 2);
    expect(changesOf(closed)).toEqual({ made: 0, withdrawn: 2, bookedOutside: 1, moreToCome: false });
    expect(onDay(await startsOf(doctor), 2)).toEqual(['09:00']);
    expect(await jobRuns(doctor)).toBe(0);
    const exceptionId = closed.exception?.id as string;
    const again = await refusal(close(doctor, 2));
    expect(again).toMatchObject({ reason: 'EXCEPTION_EXISTS', metadata: { exception_id: exceptionId } });
    const other = await person(server, 'DOCTOR');
    const remove = (by: Person) => clients.availability.removeException({ requestId: uuid(), exceptionId }, by);
    expect(await reasonOf(remove(other))).toBe('EXCEPTION_NOT_FOUND');
    expect(changesOf(await remove(doctor))).toMatchObject({ made: 2, withdrawn: 0, bookedOutside: 0 });
    expect(onDay(await startsOf(doctor), 2)).toEqual(['09:00', '10:00', '11:00']);
    expect(await reasonOf(remove(doctor))).toBe('EXCEPTION_NOT_FOUND');
  });

  test('keeps its date closed when a patient gives a time of it back, and opens it when it is removed', async () => {
    const doctor = await person(server, 'DOCTOR');
    await create(doctor);
    const [patient, mover] = [await person(server, 'PATIENT'), await person(server, 'PATIENT')];
    const { booking } = await book(await slotAt(doctor, 2, '09:00'), patient);
    const { booking: moved } = await book(await slotAt(doctor, 2, '10:00'), mover);
    const closed = await close(doctor, 2);
    expect(changesOf(closed)).toMatchObject({ withdrawn: 1, bookedOutside: 2 });
    await cancel(booking?.id, patient);
    const newSlotId = (await slotAt(doctor, 3, '10:00')).id;
    await clients.booking.rescheduleBooking({ requestId: uuid(), bookingId: moved?.id, newSlotId }, mover);
    expect(onDay(await startsOf(doctor), 2)).toEqual([]);
    const removed = await remove(doctor, closed.exception?.id);
    expect(changesOf(removed)).toMatchObject({ made: 3, bookedOutside: 0 });
    expect(onDay(await startsOf(doctor, [OPEN]), 2)).toEqual(['09:00', '10:00', '11:00']);
  });

  test('that was removed again leaves no trace: what is given back is open, what the doctor cancels is not made again', async () => {
    const doctor = await person(server, 'DOCTOR');
    await create(doctor);
    const [patient, other] = [await person(server, 'PATIENT'), await person(server, 'PATIENT')];
    const [nine, ten] = [await slotAt(doctor, 2, '09:00'), await slotAt(doctor, 2, '10:00')];
    const { booking } = await book(nine, patient);
    const { booking: another } = await book(ten, other);
    const first = await close(doctor, 2);
    expect(changesOf(await remove(doctor, first.exception?.id))).toMatchObject({ made: 1, bookedOutside: 0 });
    await cancel(booking?.id, patient);
    expect((await slotAt(doctor, 2, '09:00')).state).toBe(OPEN);
    const second = await close(doctor, 2);
    expect(changesOf(second)).toMatchObject({ withdrawn: 2, bookedOutside: 1 });
    await cancel(another?.id, doctor);
    await remove(doctor, second.exception?.id);
    expect(onDay(await startsOf(doctor), 2)).toEqual(['09:00', '11:00']);
  });

  test('gives a date other windows', async () => {
    const doctor = await person(server, 'DOCTOR');
    await create(doctor);
    const window = { localStart: '11:00', localEnd: '13:30', slotMinutes: 60, breakMinutes: 30 };
    const { exception } = await close(doctor, 2, [window]);
    expect(exception).toMatchObject({ date: dateIn(2), windows: [window], doctorId: doctor.id });
    expect(onDay(await startsOf(doctor), 2)).toEqual(['11:00', '12:30']);
  });

  test('that is there before the schedule counts all the same; all are listed by date, in pages', async () => {
    const doctor = await person(server, 'DOCTOR');
    for (const day of [4, 2, 3]) await close(doctor, day);
    await create(doctor);
    for (const day of [2, 3, 4]) expect(onDay(await startsOf(doctor), day)).toEqual([]);
    const list = (ask: object) => clients.availability.listExceptions(ask, doctor);
    const first = await list({ pageSize: 2 });
    const rest = await list({ pageSize: 2, pageToken: first.nextPageToken });
    const dates = [...first.exceptions, ...rest.exceptions].map(({ date }) => date);
    expect(dates).toEqual([2, 3, 4].map(dateIn));
    expect((await list({ fromDate: dateIn(3), untilDate: dateIn(4) })).exceptions.map(({ date }) => date)).toEqual([
      dateIn(3),
    ]);
    expect(await reasonOf(list({ fromDate: dateIn(3), pageToken: first.nextPageToken }))).toBe('PAGE_TOKEN_INVALID');
  });

  test.each<[string, object, string]>([
    ['a date that is over', { date: dateIn(-3) }, 'date'],
    ['a date too far ahead', { date: dateIn(402) }, 'date'],
    ['no date', { date: '' }, 'date'],
    ['a date that isn’t on the calendar', { date: '2027-02-29' }, 'date'],
    [
      'a window over midnight',
      { date: dateIn(2), windows: [{ localStart: '22:00', localEnd: '02:00', slotMinutes: 30 }] },
      'windows[0].local_end',
    ],
  ])('is refused for %s', async (_, ask, field) => {
    const doctor = await person(server, 'DOCTOR');
    const { reason, error } = await refusal(clients.availability.addException({ requestId: uuid(), ...ask }, doctor));
    expect(reason).toBe('FIELD_INVALID');
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]).toMatchObject({ field });
  });
});

describe('limits', () => {
  test('ten schedules a doctor', async () => {
    const doctor = await person(server, 'DOCTOR');
    const ids: (string | undefined)[] = [];
    for (let i = 0; i < 10; i++) ids.push((await create(doctor, { ...PLAN, advanceDays: 1 })).schedule?.id);
    expect(await refusal(create(doctor))).toMatchObject({
      reason: 'SCHEDULE_LIMIT',
      metadata: { limit: '10', of: 'schedules' },
    });
    await clients.availability.deleteSchedule({ requestId: uuid(), scheduleId: ids[4] }, doctor);
    await create(doctor, { ...PLAN, advanceDays: 1 });
  });

  test('20,000 slots ahead, of all schedules and exceptions together, refused before anything is made', async () => {
    const doctor = await person(server, 'DOCTOR');
    const many = { ...PLAN, windows: daily('00:00', '24:00', { slotMinutes: 5 }), fromDate: dateIn(300) };
    const tooMany = { reason: 'SCHEDULE_LIMIT', metadata: { limit: '20000', of: 'slots' } };
    expect(await refusal(create(doctor, { ...many, advanceDays: 70 }))).toMatchObject(tooMany);
    const { schedule } = await create(doctor, { ...many, advanceDays: 69 });
    expect(await refusal(update(doctor, schedule?.id, { advanceDays: 70 }))).toMatchObject(tooMany);
    expect(await refusal(create(doctor, { ...many, advanceDays: 1 }))).toMatchObject(tooMany);
    const window = { localStart: '00:00', localEnd: '24:00', slotMinutes: 5 };
    expect(await refusal(close(doctor, 2, [window]))).toMatchObject(tooMany);
    await close(doctor, 2, [{ ...window, slotMinutes: 30 }]);
    expect(await slotsOf(doctor)).toEqual([]);
  });
});

describe('a preview', () => {
  const preview = async (doctor: Person, ask: object, [from, until] = [2, 3]) => {
    const span = { from: timestampFromDate(inIndia(from, '00:00')), until: timestampFromDate(inIndia(until, '00:00')) };
    const { slots } = await clients.availability.previewSchedule({ ...span, ...ask }, doctor);
    return slots.map(({ outcome, slotId, startTime }) => [
      ...onDay([startOf({ startTime })], from),
      PreviewOutcomeSchema.value[outcome]?.localName,
      ...(slotId ? [slotId] : []),
    ]);
  };

  test('of a plan shows what would be made and what is in the way, and changes nothing', async () => {
    const doctor = await person(server, 'DOCTOR');
    const times = {
      startTime: timestampFromDate(inIndia(2, '09:30')),
      endTime: timestampFromDate(inIndia(2, '10:30')),
    };
    const { slots } = await clients.availability.publishSlots({ requestId: uuid(), slots: [times] }, doctor);
    const byHand = slots[0]?.id;
    expect(await preview(doctor, { plan: PLAN })).toEqual([
      ['09:00', 'OVERLAPS_OPEN', byHand],
      ['10:00', 'OVERLAPS_OPEN', byHand],
      ['11:00', 'NEW'],
    ]);
    expect((await clients.availability.listSchedules({}, doctor)).schedules).toEqual([]);
    expect(await slotsOf(doctor)).toHaveLength(1);
  });

  test('of a schedule shows its slots, those sold, those taken back; and of a plan in its place what would change', async () => {
    const doctor = await person(server, 'DOCTOR');
    const { schedule } = await create(doctor);
    const scheduleId = schedule?.id;
    const [nine, ten, eleven] = [
      await slotAt(doctor, 2, '09:00'),
      await slotAt(doctor, 2, '10:00'),
      await slotAt(doctor, 2, '11:00'),
    ];
    await book(nine, await person(server, 'PATIENT'));
    await withdraw(ten, doctor);
    expect(await preview(doctor, { scheduleId })).toEqual([
      ['09:00', 'THERE', nine.id],
      ['10:00', 'WITHDRAWN', ten.id],
      ['11:00', 'THERE', eleven.id],
    ]);
    expect(await preview(doctor, { scheduleId, plan: { ...PLAN, windows: daily('09:30', '13:30') } })).toEqual([
      ['09:30', 'OVERLAPS_BOOKED', nine.id],
      ['10:30', 'OVERLAPS_OPEN', eleven.id],
      ['11:30', 'OVERLAPS_OPEN', eleven.id],
      ['12:30', 'NEW'],
    ]);
    expect(await preview(doctor, { plan: { ...PLAN, windows: daily('10:00', '13:00') } })).toEqual([
      ['10:00', 'OTHER_SCHEDULE'],
      ['11:00', 'THERE', eleven.id],
      ['12:00', 'NEW'],
    ]);
  });

  test('is what then happens', async () => {
    const doctor = await person(server, 'DOCTOR');
    await openSlots(server, doctor.id, { count: 3, inMinutes: 3 * 1440, minutes: 45 });
    const ask = { plan: { ...PLAN, windows: daily('00:00', '24:00') } };
    const expected = (await preview(doctor, { ...ask, pageSize: 250 }, [1, 9])).filter((row) =>
      row.includes('NEW'),
    ).length;
    await create(doctor, ask.plan);
    const [found] = await query<{ n: number }>(
      server,
      sql`SELECT count(*) AS n FROM slot WHERE doctor_id = ${doctor.id} AND schedule_id IS NOT NULL
          AND start_at >= ${inIndia(1, '00:00')} AND start_at < ${inIndia(9, '00:00')}`,
    );
    expect(found?.n).toBe(expected);
    expect(expected).toBeGreaterThan(180);
  });

  test('knows what older schedules leave free, whatever these lose to one another', async () => {
    const doctor = await person(server, 'DOCTOR');
    await create(doctor, { ...PLAN, windows: daily('19:00', '20:00'), advanceDays: 1 });
    await create(doctor, { ...PLAN, windows: daily('11:30', '19:30', { slotMinutes: 480 }), advanceDays: 1 });
    expect(await preview(doctor, { plan: { ...PLAN, windows: daily('11:00', '12:00') } })).toEqual([['11:00', 'NEW']]);
  });

  test('comes in pages that span 31 days at the most, so that none takes long', async () => {
    const doctor = await person(server, 'DOCTOR');
    const span = { from: timestampFromDate(inIndia(1, '00:00')), until: timestampFromDate(inIndia(101, '00:00')) };
    const plan = { ...PLAN, windows: daily('09:00', '10:00') };
    const sizes: number[] = [];
    let pageToken = '';
    do {
      const page = await clients.availability.previewSchedule({ plan, ...span, pageSize: 250, pageToken }, doctor);
      sizes.push(page.slots.length);
      pageToken = page.nextPageToken;
    } while (pageToken);
    expect(sizes).toEqual([31, 31, 31, 7]);
  });

  test('comes in pages, and for 400 days at the most', async () => {
    const doctor = await person(server, 'DOCTOR');
    const from = timestampFromDate(inIndia(1, '00:00'));
    const ask = { plan: PLAN, from, until: timestampFromDate(inIndia(401, '00:00')), pageSize: 250 };
    const found: Date[] = [];
    let pageToken = '';
    do {
      const page = await clients.availability.previewSchedule({ ...ask, pageToken }, doctor);
      found.push(...page.slots.map(startOf));
      pageToken = page.nextPageToken;
    } while (pageToken);
    expect(found).toHaveLength(1200);
    expect(new Set(found.map(Number)).size).toBe(1200);
    const longer = { ...ask, until: timestampFromDate(inIndia(402, '00:00')) };
    expect(await reasonOf(clients.availability.previewSchedule(longer, doctor))).toBe('FIELD_INVALID');
    expect(await reasonOf(clients.availability.previewSchedule({ ...ask, until: from }, doctor))).toBe('FIELD_INVALID');
    const { plan: _, ...without } = ask;
    expect(await reasonOf(clients.availability.previewSchedule(without, doctor))).toBe('FIELD_INVALID');
    const foreign = { ...ask, scheduleId: uuid() };
    expect(await reasonOf(clients.availability.previewSchedule(foreign, doctor))).toBe('SCHEDULE_NOT_FOUND');
  });
});
