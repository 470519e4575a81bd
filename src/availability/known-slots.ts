import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { rows } from '../db/statement.ts';
import type { KnownSlot } from './plan-slots.ts';
import type { SlotState } from './slot.entity.ts';

interface SlotRow {
  readonly id: string;
  readonly start_at: Date;
  readonly end_at: Date;
  readonly state: SlotState;
  readonly scheduled: boolean;
  readonly retracted: boolean;
  readonly updated_at: Date;
}

/**
 * A doctor's slots that start in `span` or reach into it, by start, without those that schedules have taken back. `until` may be
 * undefined. None is longer than eight hours, so that a range of an index holds them.
 */
export async function knownSlots(
  em: EntityManager,
  doctorId: string,
  { from, until }: { readonly from: Date; readonly until: Date | undefined },
): Promise<KnownSlot[]> {
  const found = await rows<SlotRow>(
    em,
    sql`SELECT id, start_at, end_at, state, schedule_id IS NOT NULL AS scheduled,
          retracted_at IS NOT NULL AS retracted, updated_at FROM slot
        WHERE doctor_id = ${doctorId} AND start_at > ${from}::timestamptz - interval '8 hours' AND end_at > ${from}
          AND start_at < ${until ?? 'infinity'} AND (live OR retracted_at IS NULL)
        ORDER BY start_at, id`,
  );
  return found.map(({ id, start_at, end_at, state, scheduled, retracted, updated_at }) => ({
    id,
    start: start_at.getTime(),
    end: end_at.getTime(),
    state,
    scheduled,
    retracted,
    changedAt: updated_at,
  }));
}
