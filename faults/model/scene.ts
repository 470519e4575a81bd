import { randomUUID } from 'node:crypto';
import { Slot } from '../../src/availability/slot.entity.ts';
import { sql } from '../../src/db/sql.ts';
import { forkFor, rows } from '../../src/db/statement.ts';
import { serverCall } from '../../src/demo-clinic.ts';
import { type Backstage, type Person, person } from '../../test/support/people.ts';
import type { Clock } from './clock.ts';
import { type Minute, roleOf, type SlotFacts, type World } from './world.ts';

/** The people and slots of one sequence on a real service; nobody else has to do with them. */
export interface Scene {
  readonly people: Readonly<Record<string, Person>>;
  /** The specification's world when nothing has happened yet. */
  readonly world: World;
  /** Minute 0. */
  readonly begin: Date;
  /** The real id of a slot, booking or request_id; one that nothing has when the name isn't known. */
  idOf(name: string): string;
  /** The name of what has this id; the id itself when nobody gave it a name. */
  nameOf(id: string): string;
  knows(name: string): boolean;
  learn(name: string, id: string): void;
  /** Moves the clock of the whole clinic. */
  setMinute(minute: Minute): Promise<void>;
}

const PEOPLE = ['p1', 'p2', 'p3', 'd1', 'd2', 'admin'];

/** Those of d1 follow each other; those of d2 lie across them, so that a patient can be wanted in two places. */
const SLOTS: readonly Omit<SlotFacts, 'state'>[] = [
  { doctor: 'd1', from: 20, until: 40 },
  { doctor: 'd1', from: 40, until: 60 },
  { doctor: 'd1', from: 60, until: 80 },
  { doctor: 'd2', from: 30, until: 50 },
  { doctor: 'd2', from: 50, until: 70 },
];

/** Every time in the rules is a multiple of five minutes; the clock stands a minute after one, so that no call meets the edge. */
export const FIRST_MINUTE: Minute = 1;

/** Makes everybody afresh, on a clinic that others may use before and after, and sets the clock to the first minute. */
export async function createScene(clinic: Backstage, clock: Clock): Promise<Scene> {
  const begin = new Date(Math.ceil(Date.now() / 3_600_000) * 3_600_000);
  const made = await Promise.all(PEOPLE.map(async (name) => [name, await person(clinic, roleOf(name), name)] as const));
  const people = Object.fromEntries(made);
  const ids = new Map<string, string>();
  const names = new Map<string, string>();
  const learn = (name: string, id: string) => {
    ids.set(name, id);
    names.set(id, name);
  };
  for (const [name, { id }] of made) learn(name, id);
  await letSessionsLast(
    clinic,
    made.map(([, { sessionId }]) => sessionId),
  );
  for (const [name, id] of await publish(clinic, people, begin)) learn(name, id);
  const scene: Scene = {
    people,
    begin,
    learn,
    world: { now: FIRST_MINUTE, slots: openSlots(), bookings: {}, answers: {} },
    idOf(name) {
      if (!ids.has(name)) learn(name, randomUUID());
      return ids.get(name) as string;
    },
    nameOf: (id) => names.get(id) ?? id,
    knows: (name) => ids.has(name),
    setMinute: (minute) => clock.set(new Date(begin.getTime() + minute * 60_000)),
  };
  await scene.setMinute(FIRST_MINUTE);
  return scene;
}

const nameOfSlot = ({ doctor, from, until }: Omit<SlotFacts, 'state'>) => `${doctor}@${from}-${until}`;

function openSlots(): World['slots'] {
  return Object.fromEntries(SLOTS.map((slot) => [nameOfSlot(slot), { ...slot, state: 'OPEN' }]));
}

function publish(clinic: Backstage, people: Scene['people'], begin: Date) {
  const at = (minute: Minute) => new Date(begin.getTime() + minute * 60_000);
  return clinic.units.write(serverCall('PublishSlots'), async ({ em }) =>
    SLOTS.map((facts) => {
      const times = { startAt: at(facts.from), endAt: at(facts.until) };
      const slot = Slot.open(people[facts.doctor]?.id as string, times, { field: 'slot', now: at(0) });
      em.persist(slot);
      return [nameOfSlot(facts), slot.id] as const;
    }),
  );
}

/** A sequence may go weeks ahead; nobody is to sign in again. */
async function letSessionsLast(clinic: Backstage, sessions: readonly string[]): Promise<void> {
  const later = new Date(Date.now() + 365 * 86_400_000);
  await rows(
    forkFor(clinic.orm),
    sql`UPDATE session SET expires_at = ${later}, idle_expires_at = ${later} WHERE id = ANY (${sessions}::uuid[])`,
  );
}
