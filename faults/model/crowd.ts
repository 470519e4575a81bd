import { setTimeout as sleep } from 'node:timers/promises';
import { ask, type Ended } from './ask.ts';
import { historyOf, type Made } from './crowd-history.ts';
import { type Call, hasNoEffect, isUnknown } from './history.ts';
import { look } from './look.ts';
import { type Known, operationOf, otherwise } from './operation-of.ts';
import type { CrowdWish, Plan } from './plans.ts';
import type { Premises } from './premises.ts';
import { sayOfOperation } from './say.ts';
import { createScene, type Scene } from './scene.ts';
import { perform } from './specification.ts';
import type { Operation, World } from './world.ts';

/** What became of a plan: the world before anybody acted at once, every call since, and the last state as reads of it. */
export interface Recorded {
  readonly begin: World;
  readonly calls: readonly Call[];
}

const TRIES = 40;
const PAUSE_MS = 25;

/** Plays a plan and records it. Throws when a call fails for no reason that the plan has, or a repetition gets other bytes. */
export async function playCrowd(premises: Premises, plan: Plan): Promise<Recorded> {
  const scene = await createScene(premises.clinic, premises.clock);
  const crowd = new Crowd(premises, scene, plan);
  const begin = await crowd.open();
  await crowd.act();
  await crowd.readAll();
  const from = performance.now();
  const lines = await look(premises.clinic, scene);
  const last = { lines, told: crowd.told, from, until: performance.now() };
  const killed = plan.injuries.some(({ injury }) => injury.to === 'instance');
  return { begin, calls: historyOf(crowd.made, { scene, last, killed }) };
}

class Crowd {
  private readonly premises: Premises;
  private readonly scene: Scene;
  private readonly plan: Plan;
  private readonly slots: readonly string[];
  private readonly bookings: Known['bookings'][number][] = [];
  readonly made: Made[] = [];

  constructor(premises: Premises, scene: Scene, plan: Plan) {
    this.premises = premises;
    this.scene = scene;
    this.plan = plan;
    this.slots = ['d1@20-40', 'd1@40-60', 'd2@30-50'];
  }

  /** Some book beforehand; then the clock is moved. */
  async open(): Promise<World> {
    let world = this.scene.world;
    for (const { patient, slot } of this.plan.opening) {
      const asks = { method: 'BookSlot', slot: this.slots[slot] ?? '', words: 'before' } as const;
      const operation: Operation = { caller: patient, request: 'opening', asks };
      await this.until(operation, { via: 0, givesUp: false });
      world = perform(world, operation).world;
    }
    this.made.length = 0;
    await this.scene.setMinute(this.plan.minute);
    return { ...world, now: this.plan.minute };
  }

  async act(): Promise<void> {
    let over = false;
    const injuries = this.injure().finally(() => {
      over = true;
    });
    injuries.catch(() => {}); // told below, unless somebody fails before
    await Promise.all(Object.entries(this.plan.wishes).map(([name, wishes]) => this.live(name, wishes)));
    // An injury that no call has come to yet waits for one.
    for (let i = 0; !over; i++) {
      const asks = { method: 'CancelBooking', booking: 'no booking', words: '' } as const;
      await ask(this.premises.via(2), this.scene, { caller: 'admin', request: `last ${i}`, asks });
      await sleep(PAUSE_MS);
    }
    await injuries;
  }

  private async injure(): Promise<void> {
    for (const { injury, holdMs } of this.plan.injuries) await this.premises.injureNext(injury, holdMs);
  }

  /** One person's wishes, one after the other. */
  private async live(name: string, wishes: readonly CrowdWish[]): Promise<void> {
    for (const [i, wish] of wishes.entries()) {
      const operation = operationOf(wish, this.knownTo(name), `r${i}`);
      const again = () => this.until(operation, wish);
      if (wish.twin === 'none' || !operation.request) await again();
      else
        await Promise.all([again(), this.call(wish.twin === 'same' ? operation : otherwise(operation), wish.via ^ 2)]);
    }
  }

  /** Patients and doctors know their own bookings, an administrator all. */
  private knownTo(name: string): Known {
    const mine = (role: string) => (name.startsWith(role) ? [name] : []);
    const bookings = this.bookings.filter(
      ({ patient, doctor }) => name === 'admin' || [patient, doctor].includes(name),
    );
    return {
      now: this.plan.minute,
      patients: mine('p'),
      doctors: mine('d'),
      slots: this.slots,
      bookings,
    };
  }

  private async until(operation: Operation, { via, givesUp }: Pick<CrowdWish, 'via' | 'givesUp'>): Promise<void> {
    for (let i = 0; i < TRIES; i++) {
      const { reason } = await this.call(operation, via + i);
      if (!(hasNoEffect(reason) || (isUnknown(reason) && !givesUp))) return;
      await sleep(PAUSE_MS);
    }
    throw new Error(`no answer after ${TRIES} tries: ${sayOfOperation(operation)}`);
  }

  private async call(operation: Operation, via: number): Promise<Ended> {
    const from = performance.now();
    const ended = await ask(this.premises.via(via), this.scene, operation);
    this.made.push({ operation, from, until: performance.now(), ended });
    const booking = ended.answer?.booking;
    if (operation.asks.method === 'BookSlot' && booking)
      this.learn(operation, booking.id, this.scene.nameOf(booking.doctorId));
    return ended;
  }

  private learn({ caller, request }: Operation, id: string, doctor: string): void {
    const name = `${caller}:${request}`;
    if (this.scene.knows(name)) return;
    this.scene.learn(name, id);
    this.bookings.push({ name, patient: caller, doctor });
  }

  /** Everybody looks once more, at each instance. */
  async readAll(): Promise<void> {
    const bookings = this.bookings.map(({ name, patient }) => ({
      caller: patient,
      asks: { method: 'GetBooking', booking: name } as const,
    }));
    const slots = this.slots.map((slot) => ({ caller: slot.slice(0, 2), asks: { method: 'GetSlot', slot } as const }));
    const reads = [...bookings, ...slots].map((one) => ({ ...one, request: '' }));
    await Promise.all(reads.flatMap((read) => [this.call(read, 1), this.call(read, 2)]));
  }

  /** The bookings that somebody was told of. */
  get told(): readonly string[] {
    return this.bookings.map(({ name }) => name);
  }
}
