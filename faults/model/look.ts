import { sql } from '../../src/db/sql.ts';
import { forkFor, row, rows } from '../../src/db/statement.ts';
import type { Backstage } from '../../test/support/people.ts';
import { sayOfBooking, sayOfSlot } from './say.ts';
import type { Scene } from './scene.ts';
import { type BookingFacts, freeName, type Minute, type Role, type SlotFacts, type World } from './world.ts';

interface SlotRow {
  readonly id: string;
  readonly doctor_id: string;
  readonly start_at: string;
  readonly end_at: string;
  readonly state: SlotFacts['state'];
}

interface BookingRow extends Omit<SlotRow, 'state'> {
  readonly slot_id: string;
  readonly patient_id: string;
  readonly state: BookingFacts['state'];
  readonly reason_for_visit: string;
  readonly cancel_reason: string;
  readonly cancelled_by_role: Role | null;
  readonly created_at: string;
  readonly updated_at: string;
}

/** What the database holds of a scene, in the specification's words: a line for each slot and booking, sorted. */
export async function look(clinic: Backstage, scene: Scene): Promise<string[]> {
  const doctors = Object.keys(scene.people).filter((name) => name.startsWith('d'));
  const ids = doctors.map(scene.idOf);
  const found = await row<{ slots: SlotRow[]; bookings: BookingRow[] }>(
    forkFor(clinic.orm),
    sql`SELECT coalesce((SELECT jsonb_agg(to_jsonb(slot) ORDER BY created_at, id) FROM slot WHERE doctor_id = ANY (${ids}::uuid[])), '[]') AS slots,
          coalesce((SELECT jsonb_agg(to_jsonb(booking) ORDER BY created_at, id) FROM booking WHERE doctor_id = ANY (${ids}::uuid[])), '[]') AS bookings`,
  );
  const { slots = [], bookings = [] } = found ?? {};
  for (const slot of slots.filter(isNew(scene))) {
    learnNew(
      scene,
      `${scene.nameOf(slot.doctor_id)}@${minuteOf(scene, slot.start_at)}-${minuteOf(scene, slot.end_at)}`,
      slot,
    );
  }
  for (const booking of bookings.filter(isNew(scene)))
    learnNew(scene, await madeBy(clinic, scene, booking.id), booking);
  return [
    ...slots.map((slot) => sayOfSlot(scene.nameOf(slot.id), { ...timesOf(scene, slot), state: slot.state })),
    ...bookings.map((booking) => lineOf(scene, booking)),
  ].sort();
}

/** The same of the specification. */
export function linesOf({ slots, bookings }: World): string[] {
  return [
    ...Object.entries(slots).map(([name, slot]) => sayOfSlot(name, slot)),
    ...Object.entries(bookings).map(([name, booking]) => sayOfBooking(name, booking, slots[booking.slot] as SlotFacts)),
  ].sort();
}

/** The minute of the scene; one of now is rounded down to the minute at which the clock was set. */
export function minuteOf({ begin }: Scene, time: string | Date): Minute {
  return (new Date(time).getTime() - begin.getTime()) / 60_000;
}

/** The minute at which the clock stood when something was done: rounded down, for calls take time. */
export function clockOf(scene: Scene, time: string | Date): Minute {
  return Math.floor((minuteOf(scene, time) - 1) / 5) * 5 + 1;
}

const isNew =
  ({ nameOf }: Scene) =>
  ({ id }: { id: string }) =>
    nameOf(id) === id;

function learnNew(scene: Scene, name: string, { id }: { id: string }): void {
  scene.learn(freeName(name, scene.knows), id);
}

/** A booking is named by the request that made it; the audit trail knows, also when the caller was never told. */
async function madeBy(clinic: Backstage, scene: Scene, bookingId: string): Promise<string> {
  const [line] = await rows<{ actor_id: string; request_id: string }>(
    forkFor(clinic.orm),
    sql`SELECT actor_id, request_id FROM audit_event WHERE entity_id = ${bookingId} AND action = 'BookSlot' AND outcome = 'DONE'`,
  );
  return line ? `${scene.nameOf(line.actor_id)}:${scene.nameOf(line.request_id)}` : bookingId;
}

function timesOf(scene: Scene, { doctor_id, start_at, end_at }: Omit<SlotRow, 'state'>) {
  return { doctor: scene.nameOf(doctor_id), from: minuteOf(scene, start_at), until: minuteOf(scene, end_at) };
}

function lineOf(scene: Scene, booking: BookingRow): string {
  const facts: BookingFacts = {
    patient: scene.nameOf(booking.patient_id),
    slot: scene.nameOf(booking.slot_id),
    state: booking.state,
    words: booking.reason_for_visit,
    cancelWords: booking.cancel_reason,
    cancelledBy: booking.cancelled_by_role ?? '',
    madeAt: clockOf(scene, booking.created_at),
    changedAt: clockOf(scene, booking.updated_at),
  };
  return sayOfBooking(scene.nameOf(booking.id), facts, timesOf(scene, booking));
}
