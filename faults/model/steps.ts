import fc from 'fast-check';
import type { Injury } from './premises.ts';
import type { Ask, Minute, Role } from './world.ts';

/** One thing to do, with numbers for what can only be named once the sequence has come to it. Plain data, so that it can be shrunk and printed. */
export type Step = Wish | Repetition | { readonly do: 'wait'; readonly minutes: Minute };

interface How {
  /** Which instance, and by which protocol. */
  readonly via: number;
  readonly injury: Injury | undefined;
}

/** A new request. */
export interface Wish extends How {
  readonly do: Ask['method'];
  /** Who cancels, looks or asks. */
  readonly by: Role;
  /** Which patient, and which booking. */
  readonly who: number;
  /** Which slot, and which doctor. */
  readonly where: number;
  /** Not the one whose booking or slot it is. */
  readonly stranger: boolean;
}

/** A request that was made before, again. */
export interface Repetition extends How {
  readonly do: 'again';
  readonly which: number;
  readonly change: 'nothing' | 'letter case' | 'payload' | 'caller';
}

/** Sequences of steps; injuries are as rare as they are slow. */
export function sequences({ kills }: { readonly kills: boolean }): fc.Arbitrary<Step[]> {
  const injury = injuries(kills);
  const again = fc.record({
    injury,
    via: fc.nat(3),
    do: fc.constant('again' as const),
    which: fc.nat(9),
    change: often({ nothing: 3, 'letter case': 1, payload: 1, caller: 1 }),
  });
  const wait = fc.record({ do: fc.constant('wait' as const), minutes: minutes() });
  const step = fc.oneof(
    { weight: 14, arbitrary: wishes({ methods: METHODS, by: BY, injury }) },
    { weight: 3, arbitrary: again },
    { weight: 3, arbitrary: wait },
  );
  return fc.array(step, { minLength: 5, maxLength: 30, size: 'max' });
}

/** How often a method comes, of all together. */
export type Often = Partial<Record<Ask['method'], number>>;

const METHODS: Often = {
  ...{ BookSlot: 7, CancelBooking: 4, RescheduleBooking: 4, CheckIn: 2, StartConsultation: 3, CompleteConsultation: 2 },
  ...{ MarkNoShow: 2, WithdrawSlot: 2, PublishSlots: 1, GetBooking: 1, GetSlot: 1 },
};
const BY: Partial<Record<Role, number>> = { PATIENT: 2, DOCTOR: 1, ADMINISTRATOR: 1 };

/** Requests of these methods, by these roles where the method leaves the role open. */
export function wishes({
  methods,
  by,
  injury,
}: {
  methods: Often;
  by: Partial<Record<Role, number>>;
  injury: fc.Arbitrary<Injury | undefined>;
}): fc.Arbitrary<Wish> {
  return fc.record({
    do: often(methods),
    by: often(by),
    who: fc.nat(11),
    where: fc.nat(11),
    stranger: fc.nat(9).map((n) => n === 9),
    via: fc.nat(3),
    injury,
  });
}

/** One of the names, each as often as its number says. */
export function often<Name extends string>(weights: Partial<Record<Name, number>>): fc.Arbitrary<Name> {
  const names = Object.keys(weights) as Name[];
  return fc.oneof(...names.map((name) => ({ weight: weights[name] ?? 0, arbitrary: fc.constant(name) })));
}

function injuries(kills: boolean): fc.Arbitrary<Injury | undefined> {
  const to = (what: Injury['to']) => fc.record({ to: fc.constant(what), committed: fc.boolean() });
  return fc.oneof(
    { weight: 600, arbitrary: fc.constant(undefined) },
    { weight: 30, arbitrary: to('connection') },
    { weight: kills ? 1 : 0, arbitrary: to('instance') },
  );
}

/** Minutes that pass; rarely more than a week, after which a request_id is new. */
function minutes(): fc.Arbitrary<Minute> {
  return fc.oneof(
    { weight: 60, arbitrary: fc.constantFrom(5, 10, 15, 20) },
    { weight: 1, arbitrary: fc.constant(8 * 24 * 60) },
  );
}
