import { type Decided, Refused } from './decided.ts';
import { sayOfSlot } from './say.ts';
import { freeName, type Minute, type SlotFacts, type World } from './world.ts';

/** From when to when, without the end. */
export type Times = readonly [from: Minute, until: Minute];

/** A doctor takes an open slot back. */
export function withdraw(world: World, doctor: string, name: string): Decided {
  const slot = world.slots[name];
  if (slot?.doctor !== doctor) throw new Refused('SLOT_NOT_FOUND');
  if (slot.state !== 'OPEN') throw new Refused('SLOT_NOT_OPEN', { state: slot.state });
  return { world: withSlot(world, name, { ...slot, state: 'WITHDRAWN' }), shows: showSlots([name]) };
}

/** All or none. Of two in one request that overlap, the later one is to blame. */
export function publish(world: World, doctor: string, times: readonly Times[]): Decided {
  const past = times.findIndex(([from]) => from <= world.now);
  if (past >= 0) throw new Refused('SLOT_IN_PAST', { field: `slots[${past}]` });
  const index = overlapping(world, doctor, times);
  if (index >= 0) throw new Refused('SLOT_OVERLAP', { index });
  const names: string[] = [];
  let published = world;
  for (const [from, until] of times) {
    const name = freeName(`${doctor}@${from}-${until}`, (taken) => taken in published.slots);
    published = withSlot(published, name, { doctor, from, until, state: 'OPEN' });
    names.push(name);
  }
  return { world: published, shows: showSlots(names) };
}

function overlapping({ slots }: World, doctor: string, times: readonly Times[]): number {
  const live = Object.values(slots).filter((slot) => slot.doctor === doctor && slot.state !== 'WITHDRAWN');
  const isBefore = (a: number, b: number) => (times[a]?.[0] ?? 0) - (times[b]?.[0] ?? 0) || a - b;
  const among = times.findIndex((time, i) =>
    times.some((other, j) => i !== j && overlap(time, other) && isBefore(j, i) < 0),
  );
  return among >= 0 ? among : times.findIndex((time) => live.some(({ from, until }) => overlap(time, [from, until])));
}

/** A slot that can be booked: open and ahead; of `doctor`, if one is named. */
export function freeSlot(world: World, name: string, doctor?: string): SlotFacts {
  const slot = world.slots[name];
  if (!slot || slot.state === 'WITHDRAWN' || (doctor ?? slot.doctor) !== slot.doctor)
    throw new Refused('SLOT_NOT_FOUND');
  if (slot.from <= world.now) throw new Refused('SLOT_IN_PAST');
  if (slot.state !== 'OPEN') throw new Refused('SLOT_TAKEN', {}, nearestTo(world, slot));
  return slot;
}

/** Up to three slots that could be booked instead. */
function nearestTo({ now, slots }: World, { doctor, from }: SlotFacts): string[] {
  const open = Object.entries(slots).filter(([, s]) => s.doctor === doctor && s.state === 'OPEN' && s.from > now);
  const distance = (slot: SlotFacts) => Math.abs(slot.from - from);
  open.sort(([, a], [, b]) => distance(a) - distance(b) || a.from - b.from);
  return open.slice(0, 3).map(([name]) => name);
}

export function overlap(a: Times, b: Times): boolean {
  return a[0] < b[1] && b[0] < a[1];
}

/** The world with a slot as given. */
export function withSlot(world: World, name: string, slot: SlotFacts): World {
  return { ...world, slots: { ...world.slots, [name]: slot } };
}

/** Shows these slots, in this order. */
export function showSlots(names: readonly string[]): Decided['shows'] {
  return ({ slots }) => names.map((name) => sayOfSlot(name, slots[name] as SlotFacts)).join(', ');
}
