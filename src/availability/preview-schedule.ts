import type { EntityManager } from '@mikro-orm/postgresql';
import { Fault, fieldInvalid } from '../fault.ts';
import type { Page, PageAsk } from '../page.ts';
import { completeParts } from './complete-plan.ts';
import { knownSlots } from './known-slots.ts';
import { loadOffers } from './load-offers.ts';
import {
  type Asking,
  type OfferedSlot,
  type Offers,
  offeredSlots,
  type Span,
  slotsOf,
  withoutThoseOver,
} from './offered-slots.ts';
import { blocking, type KnownSlot } from './plan-slots.ts';
import { checkPlan, type Plan } from './schedule.entity.ts';

/** What becomes of a time that a schedule asks for. */
export type PreviewOutcome = 'NEW' | 'THERE' | 'OVERLAPS_OPEN' | 'OVERLAPS_BOOKED' | 'WITHDRAWN' | 'OTHER_SCHEDULE';

/** A time that a schedule asks for. */
export interface PreviewSlot {
  readonly startAt: Date;
  readonly endAt: Date;
  readonly outcome: PreviewOutcome;
  /** The slot that is there or in the way. */
  readonly slotId: string | undefined;
}

/** What PreviewSchedule asks for. */
export interface PreviewSchedule {
  readonly doctorId: string;
  /** Empty: a new one. */
  readonly scheduleId: string;
  /** Undefined: what the schedule offers now. */
  readonly plan: Plan | undefined;
  readonly span: Span;
}

/** Place in the listing: the start of a slot (ISO 8601). */
export type PreviewCursor = readonly [startAt: string];

const LONGEST_DAYS = 400;
/** Days that a page spans at the most: older schedules have to be asked for all of them. */
const PAGE_DAYS = 31;
const DAY_MS = 86_400_000;
const LONGEST_SLOT_MS = 8 * 3_600_000;

/** What a schedule would make, and what is in its way; changes nothing. A page may end early. Throws SCHEDULE_NOT_FOUND, FIELD_INVALID. */
export async function previewSchedule(
  em: EntityManager,
  asked: PreviewSchedule,
  { page, now }: { readonly page: PageAsk<PreviewCursor>; readonly now: Date },
): Promise<Page<PreviewSlot, PreviewCursor>> {
  const span = checkedSpan(asked.span);
  const asking = await askingOf(em, asked, now);
  const after = page.after ? new Date(page.after[0]).getTime() : 0;
  const from = new Date(Math.max(span.from.getTime(), now.getTime() + 1, after + 1));
  const slots = slotsOf(asking, { from, until: span.until })
    .take(page.size + 1)
    .toArray();
  const near = slots.filter(({ start }) => start < (slots[0] as OfferedSlot).start + PAGE_DAYS * DAY_MS);
  const found = await withOutcomes(em, asked.doctorId, { asking, slots: near.slice(0, page.size) });
  const last = found.length < slots.length ? found.at(-1) : undefined;
  return { rows: found, next: last && [last.startAt.toISOString()] };
}

function checkedSpan(span: Span): Span {
  const length = span.until.getTime() - span.from.getTime();
  if (length <= 0 || length > LONGEST_DAYS * DAY_MS)
    throw fieldInvalid('until', 'must be later than from, by 400 days at most', 'range');
  return span;
}

async function askingOf(
  em: EntityManager,
  { doctorId, scheduleId, plan }: PreviewSchedule,
  now: Date,
): Promise<Asking> {
  const { schedules, exceptions } = await loadOffers(em, doctorId);
  const place = schedules.findIndex(({ id }) => id === scheduleId);
  if (scheduleId && place < 0) throw new Fault('SCHEDULE_NOT_FOUND', 'no such schedule');
  if (!scheduleId && !plan) throw fieldInvalid('plan', 'is needed where no schedule_id is given', 'required');
  const kept = schedules[place] ?? { id: '', createdAt: now };
  const proposed = plan && { ...plan, ...(await completeParts(em, plan, { doctorId, now })) };
  if (proposed) checkPlan(proposed);
  const offer = { ...kept, ...proposed } as Asking['offer'];
  return { offer, before: place < 0 ? schedules : schedules.slice(0, place), exceptions };
}

async function withOutcomes(
  em: EntityManager,
  doctorId: string,
  { asking, slots }: { readonly asking: Asking; readonly slots: readonly OfferedSlot[] },
): Promise<PreviewSlot[]> {
  const [first, last] = [slots[0], slots.at(-1)];
  if (!first || !last) return [];
  const [from, until] = [new Date(first.start), new Date(last.end)];
  const known = await knownSlots(em, doctorId, { from, until });
  const older: Offers = { schedules: asking.before, exceptions: asking.exceptions };
  // Older ones have their own order, which may reach over eight hours for each.
  const reach = (asking.before.length + 1) * LONGEST_SLOT_MS;
  const span = { from: new Date(first.start - reach), until: new Date(last.end + reach) };
  const taken = offeredSlots(older, () => span);
  const outcome = outcomes(known, new Set(withoutThoseOver(taken, slots)));
  return slots.map((slot) => ({ startAt: new Date(slot.start), endAt: new Date(slot.end), ...outcome(slot) }));
}

/** `free` are those that no older schedule asks for. */
function outcomes(known: readonly KnownSlot[], free: ReadonlySet<OfferedSlot>) {
  const inTheWay = blocking(known);
  return (slot: OfferedSlot): Pick<PreviewSlot, 'outcome' | 'slotId'> => {
    const found = inTheWay(slot);
    const slotId = found?.id;
    if (found && found.state !== 'WITHDRAWN') {
      if (found.start === slot.start && found.end === slot.end) return { outcome: 'THERE', slotId };
      return { outcome: `OVERLAPS_${found.state}`, slotId };
    }
    if (!free.has(slot)) return { outcome: 'OTHER_SCHEDULE', slotId: undefined };
    return found ? { outcome: 'WITHDRAWN', slotId } : { outcome: 'NEW', slotId };
  };
}
