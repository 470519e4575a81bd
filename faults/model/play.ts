import { setTimeout as sleep } from 'node:timers/promises';
import { answerOf, ask, bytesOf, type Ended } from './ask.ts';
import { hasNoEffect, isUnknown } from './history.ts';
import { linesOf, look } from './look.ts';
import { bySomebodyElse, type Known, operationOf, otherwise } from './operation-of.ts';
import type { Injury, Premises } from './premises.ts';
import { sayOfOperation } from './say.ts';
import { createScene, type Scene } from './scene.ts';
import { isNewAgain, keyOf, perform } from './specification.ts';
import type { Repetition, Step } from './steps.ts';
import type { Answer, Operation, World } from './world.ts';

const TRIES = 5;
const PAUSE_MS = 100;

type Spelling = (id: string) => string;

/**
 * Plays a sequence on fresh people and slots, and compares every answer and every state with the specification. Answers what
 * was answered, `OK` or a reason for each call. Throws an Error with the difference and the whole sequence.
 */
export async function play(premises: Premises, steps: readonly Step[]): Promise<readonly string[]> {
  const performance = new Performance(premises, await createScene(premises.clinic, premises.clock));
  try {
    for (const step of steps) await performance.step(step);
    await performance.findOutWhatIsUnknown();
    return performance.answers;
  } catch (error) {
    throw new Error(`${(error as Error).message}\nThe sequence:\n${performance.journal.join('\n')}`, { cause: error });
  }
}

/** One sequence being played. */
class Performance {
  readonly journal: string[] = [];
  readonly answers: string[] = [];
  private readonly premises: Premises;
  private readonly scene: Scene;
  private world: World;
  private readonly made: Operation[] = [];
  private readonly unknown = new Set<Operation>();
  private readonly bytes = new Map<string, string>();

  constructor(premises: Premises, scene: Scene) {
    this.premises = premises;
    this.scene = scene;
    this.world = scene.world;
  }

  async step(step: Step): Promise<void> {
    if (step.do === 'wait') {
      this.world = { ...this.world, now: this.world.now + step.minutes };
      this.journal.push(`     the clock goes to minute ${this.world.now}`);
      return this.scene.setMinute(this.world.now);
    }
    const operation =
      step.do === 'again' ? this.repeated(step) : operationOf(step, this.known(), `r${this.made.length + 1}`);
    if (!operation) return;
    if (operation.request && step.do !== 'again') this.made.push(operation);
    // A request_id that is new again takes two transactions: which one would be injured is left open.
    if (step.injury && operation.request && !isNewAgain(this.world, operation))
      return this.injured(operation, step.injury);
    const upper = step.do === 'again' && step.change === 'letter case';
    await this.called(operation, { via: step.via, spell: upper ? (id) => id.toUpperCase() : undefined });
  }

  /** Asks again whatever has no answer yet, as a client would. */
  async findOutWhatIsUnknown(): Promise<void> {
    for (const operation of this.unknown) await this.called(operation, { via: 0 });
  }

  private repeated({ which, change }: Repetition): Operation | undefined {
    const first = this.made[this.made.length - 1 - (which % Math.max(1, this.made.length))];
    if (!first || change === 'nothing' || change === 'letter case') return first;
    return change === 'payload' ? otherwise(first) : bySomebodyElse(this.known(), first);
  }

  private known(): Known {
    const { now, slots, bookings } = this.world;
    return {
      now,
      patients: ['p1', 'p2', 'p3'],
      doctors: ['d1', 'd2'],
      slots: Object.keys(slots),
      bookings: Object.entries(bookings).map(([name, { patient, slot }]) => ({
        name,
        patient,
        doctor: slots[slot]?.doctor ?? '',
      })),
    };
  }

  private async called(operation: Operation, { via, spell }: { via: number; spell?: Spelling | undefined }) {
    const call = () => ask(this.premises.via(via), this.scene, operation, spell);
    await this.compare(operation, await this.answered(call));
  }

  private async compare(operation: Operation, ended: Ended): Promise<void> {
    const { world, answer: expected } = perform(this.world, operation);
    if (isNewAgain(this.world, operation)) this.premises.tally.newAgain++;
    this.world = world;
    this.unknown.delete(operation);
    const lines = await look(this.premises.clinic, this.scene);
    const answer = answerOf(this.scene, ended);
    this.note(operation, answer);
    mustBeSame('the answer is', saidOf(answer), saidOf(expected));
    mustBeSame('the database holds', lines, linesOf(this.world));
    this.mustBeTheFirstBytes(operation, ended);
  }

  /** Asks again after a refusal that promises that nothing was changed: a slow machine is no difference. */
  private async answered(call: () => Promise<Ended>): Promise<Ended> {
    for (let i = 1; ; i++) {
      const ended = await call();
      if (i === TRIES || !hasNoEffect(ended.reason)) return ended;
      await sleep(PAUSE_MS);
    }
  }

  private async injured(operation: Operation, injury: Injury): Promise<void> {
    const ended = await this.premises.injured(injury, (clients) => ask(clients, this.scene, operation));
    // The COMMIT was another one, of the instance's own housekeeping.
    if (!isUnknown(ended.reason)) return this.compare(operation, ended);
    const how = ` (${injury.to} lost, ${injury.committed ? 'after' : 'before'} the commit)`;
    this.note(operation, answerOf(this.scene, ended), how);
    if (injury.to === 'connection') mustBeSame('a lost connection is told as', ended.reason, 'OUTCOME_UNKNOWN');
    if (injury.committed) this.world = perform(this.world, operation).world;
    this.unknown.add(operation);
    mustBeSame('the database holds', await look(this.premises.clinic, this.scene), linesOf(this.world));
  }

  /** A repetition gets the first answer, byte for byte. */
  private mustBeTheFirstBytes(operation: Operation, ended: Ended): void {
    const key = keyOf(operation);
    const bytes = bytesOf(ended);
    if (ended.replayed) mustBeSame('the repetition is', bytes, this.bytes.get(key) ?? bytes);
    if (ended.reason !== 'REQUEST_ID_REUSED') this.bytes.set(key, bytes);
  }

  private note(operation: Operation, { says, replayed }: Answer, what = ''): void {
    this.answers.push(says.split(' ', 1)[0] as string);
    const place = String(this.answers.length).padStart(3);
    this.journal.push(`${place}. ${sayOfOperation(operation)}${what}\n       ${says}${replayed ? ' (replayed)' : ''}`);
  }
}

const saidOf = ({ says, replayed, offers }: Answer) => ({ says, replayed, offers });

function mustBeSame(what: string, real: unknown, specified: unknown): void {
  const [is, should] = [real, specified].map((value) => [value].flat().map((line) => JSON.stringify(line))) as [
    string[],
    string[],
  ];
  const [more, less] = [is.filter((line) => !should.includes(line)), should.filter((line) => !is.includes(line))];
  if (is.length === should.length && !more.length) return;
  throw new Error(
    `The service and the specification differ: ${what}\n  ${more.join('\n  ')}\ninstead of\n  ${less.join('\n  ')}`,
  );
}
