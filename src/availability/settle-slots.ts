import { sql } from '../db/sql.ts';
import { row } from '../db/statement.ts';
import type { Work } from '../db/work.ts';
import { Agenda } from './agenda.entity.ts';
import { type Filled, type Filling, fillAgenda } from './fill-agenda.ts';

/** Slots made in the call that asks for them; the others are made by a job. */
const AT_ONCE = 500;

/** What a change of schedules has done to slots. */
export type SlotChanges = Omit<Filled, 'dueAt'>;

/**
 * Brings a doctor's slots up to date with what the unit of work has changed so far, which it writes first: so nothing may be refused
 * afterwards. The doctor's user row is locked.
 */
export async function settleSlots(work: Work, filling: Omit<Filling, 'most'>): Promise<SlotChanges> {
  await work.writeNow();
  const { dueAt, ...changes } = await fillAgenda(work.em, { ...filling, most: AT_ONCE });
  const agenda = await agendaOf(work, filling);
  agenda.filled(dueAt, filling.now);
  return changes;
}

async function agendaOf({ em }: Work, { doctorId, now }: Omit<Filling, 'most'>): Promise<Agenda> {
  const found = await row<object>(em, sql`SELECT * FROM agenda WHERE doctor_id = ${doctorId}`);
  if (found) return em.map(Agenda, found);
  const agenda = Agenda.begin(doctorId, now);
  em.persist(agenda);
  return agenda;
}
