import fc from 'fast-check';
import type { Injury } from './premises.ts';
import { type Often, often, type Wish, wishes } from './steps.ts';
import type { Minute, Role } from './world.ts';

/** Something that one of a crowd wants. */
export interface CrowdWish extends Wish {
  /** Whether the same request is sent a second time at once, through the other instance, as it is or with another content. */
  readonly twin: 'none' | 'same' | 'other payload';
  /** Whether it is given up when no answer comes, instead of asked again. */
  readonly givesUp: boolean;
}

/** What a crowd does: everybody at once, each one thing after the other. */
export interface Plan {
  /** Who books beforehand, when nobody else acts, and which slot. */
  readonly opening: readonly { readonly patient: string; readonly slot: number }[];
  /** Where the clock stands then. */
  readonly minute: Minute;
  readonly wishes: Readonly<Record<string, readonly CrowdWish[]>>;
  /** What happens to calls at the second instance, and for how many milliseconds they are held before. */
  readonly injuries: readonly { readonly injury: Injury; readonly holdMs: number }[];
}

const OF_PATIENTS: Often = { BookSlot: 3, CancelBooking: 2, RescheduleBooking: 2, CheckIn: 1, GetBooking: 1 };
const OF_DOCTORS: Often = {
  ...{ CancelBooking: 1, StartConsultation: 1, CompleteConsultation: 1, MarkNoShow: 1 },
  ...{ WithdrawSlot: 1, GetSlot: 2 },
};

/** Six people on three slots, two of which overlap. */
export function plans({ kills }: { readonly kills: boolean }): fc.Arbitrary<Plan> {
  const patient = some(OF_PATIENTS, 'PATIENT', 6);
  const doctor = some(OF_DOCTORS, 'DOCTOR', 4);
  const admin = some({ CancelBooking: 1 }, 'ADMINISTRATOR', 2);
  return fc.record({
    opening: fc.subarray([
      { patient: 'p1', slot: 0 },
      { patient: 'p2', slot: 1 },
      { patient: 'p3', slot: 2 },
    ]),
    minute: fc.constantFrom(1, 1, 6, 21, 31),
    wishes: fc.record({ p1: patient, p2: patient, p3: patient, d1: doctor, d2: doctor, admin }),
    injuries: fc.array(fc.record({ injury: injury(kills), holdMs: fc.constantFrom(0, 0, 20, 200) }), { maxLength: 2 }),
  });
}

function some(methods: Often, role: Role, most: number): fc.Arbitrary<CrowdWish[]> {
  const wish = wishes({ methods, by: { [role]: 1 }, injury: fc.constant(undefined) });
  const more = fc.record({
    twin: often({ none: 4, same: 1, 'other payload': 1 }),
    givesUp: fc.nat(3).map((n) => n === 3),
  });
  const both = fc.tuple(wish, more).map(([one, other]) => ({ ...one, ...other }));
  return fc.array(both, { minLength: 1, maxLength: most, size: 'max' });
}

/** One in 25 is a killed instance, which takes seconds to be replaced. */
function injury(kills: boolean): fc.Arbitrary<Injury> {
  const to = often<Injury['to']>({ connection: 24, instance: kills ? 1 : 0 });
  return fc.record({ to, committed: fc.boolean() });
}
