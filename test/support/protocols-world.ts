import { randomUUIDv7 as uuid } from 'node:crypto';
import { type Booking, BookingService } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { beginSession } from '../../src/auth/signed-in.ts';
import { userLock } from '../../src/auth/user-lock.ts';
import type { Slot } from '../../src/availability/slot.entity.ts';
import { sql } from '../../src/db/sql.ts';
import { forkFor, rows, type Sql } from '../../src/db/statement.ts';
import { serverCall } from '../../src/demo-clinic.ts';
import { openSlots, type Person, person } from './people.ts';
import type { Protocol } from './protocols.ts';
import type { TestServer } from './server.ts';

/** A server and one way to ask it, for what a test needs to have happened before it begins. */
export interface World {
  readonly server: TestServer;
  readonly protocol: Protocol;
}

/** One appointment, and both who have it. */
export interface Appointment {
  readonly doctor: Person;
  readonly patient: Person;
  readonly slot: Slot;
  readonly booking: Booking;
}

/** Runs SQL past the server: for states that take time, or that no call makes. */
export function runSql<T = object>(server: TestServer, statement: Sql): Promise<T[]> {
  return rows<T>(forkFor(server.orm), statement);
}

/** A booked slot that begins `inMinutes` from now, of people of its own. */
export async function appointment(world: World, inMinutes = 60): Promise<Appointment> {
  const [doctor, patient] = await Promise.all([person(world.server, 'DOCTOR'), person(world.server, 'PATIENT')]);
  const [slot] = (await openSlots(world.server, doctor.id, { inMinutes })) as [Slot];
  return { doctor, patient, slot, booking: await book(world, patient, slot.id) };
}

/** Books, or throws. */
export async function book({ protocol }: World, patient: Person, slotId: string): Promise<Booking> {
  const ask = { requestId: uuid(), slotId, reasonForVisit: 'a rash' };
  const { message, code, reason } = await protocol.call(BookingService.method.bookSlot, ask, patient);
  if (!message?.booking) throw new Error(`not booked: ${code} ${reason}`);
  return message.booking;
}

/** Moves an appointment, slot and all, so that it began `minutes` ago. */
export async function begunAgo({ server }: World, { slot, booking }: Appointment, minutes: number): Promise<void> {
  const [start, end] = [
    sql`date_trunc('minute', now()) - make_interval(mins => ${minutes}::int)`,
    sql`end_at - start_at`,
  ];
  const times = sql`start_at = ${start}, end_at = ${start} + (${end})`;
  await runSql(server, sql`UPDATE slot SET ${times} WHERE id = ${slot.id}`);
  await runSql(server, sql`UPDATE booking SET ${times} WHERE id = ${booking.id}`);
}

/** Another sign-in of somebody, with its refresh token. */
export function signInAgain({ server }: World, { id }: Person): Promise<{ sessionId: string; refreshToken: string }> {
  return server.units.write(serverCall('LogIn'), async (work) => {
    const { users, now } = await work.lock({ users: userLock(id) });
    const [user] = users;
    if (!user) throw new Error('nobody has this id');
    const { session, refreshToken } = beginSession(work, user, now);
    return { sessionId: session.id, refreshToken };
  });
}
