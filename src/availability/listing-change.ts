import { User } from '../auth/user.entity.ts';
import { type Sql, sql } from '../db/sql.ts';
import type { ChangedEntity } from '../db/write-changes.ts';
import { Agenda } from './agenda.entity.ts';
import { Doctor } from './doctor.entity.ts';
import { Slot } from './slot.entity.ts';

/** Whose slots look different after a change. */
export interface ListingChange {
  readonly doctorId: string;
  /** The doctor's own entry does too: name, time zone, profile, or whether it is shown at all. */
  readonly profile: boolean;
}

/** Fields of a doctor's account that listings show, or that decide whether they show it. */
const SHOWN: readonly string[] = ['displayName', 'timeZone', 'state'];

/** What changed entities mean to listings: one line a doctor. */
export function listingChanges(changed: readonly ChangedEntity[]): readonly ListingChange[] {
  const found = new Map<string, boolean>();
  for (const { entity, fields } of changed) {
    if (entity instanceof Slot || entity instanceof Agenda)
      found.set(entity.doctorId, found.get(entity.doctorId) ?? false);
    else if (entity instanceof Doctor) found.set(entity.userId, true);
    else if (entity instanceof User && entity.role === 'DOCTOR' && fields.some((field) => SHOWN.includes(field)))
      found.set(entity.id, true);
  }
  return [...found].map(([doctorId, profile]) => ({ doctorId, profile }));
}

/** What tells other instances, for the statement that writes the change itself; nothing when listings stay as they are. */
export function noteListingChanges(changed: readonly ChangedEntity[], won: Sql): readonly Sql[] {
  const changes = listingChanges(changed);
  if (changes.length === 0) return [];
  const note = sql`INSERT INTO listing_change (xid, doctor_id, profile)
    SELECT pg_current_xact_id(), doctor_id, profile
    FROM unnest(${changes.map(({ doctorId }) => doctorId)}::uuid[], ${changes.map(({ profile }) => profile)}::boolean[]) AS c (doctor_id, profile)
    WHERE ${won}`;
  return [note];
}
