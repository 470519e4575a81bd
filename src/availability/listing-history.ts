import type { Snapshot } from '../db/snapshot.ts';
import type { ListingChange } from './listing-change.ts';

/** Of what a listing was made: whose changes make it outdated. */
export interface MadeOf {
  readonly doctors: readonly string[];
  /** Changes of any doctor's own entry, or any change at all, count too: somebody else may then be listed. */
  readonly also: 'nothing' | 'profiles' | 'everything';
}

/** What has changed in listings lately, as far as this process knows. */
export interface ListingHistory {
  /** Where it has come to; of use for `unchangedSince`. */
  now(): number;
  /** Adds changes: of this process, or of the transaction `xid`, as the database tells it. */
  hear(changes: readonly ListingChange[], xid?: bigint): void;
  /** Something may have been missed: everything counts as changed. */
  missed(): void;
  /** Whether a listing that was read after `since` is what would be read now. */
  unchangedSince(since: number, of: MadeOf): boolean;
  /** Whether a listing that shows all that `snapshot` does is what would be read now. The snapshot isn't older than KEPT_MS. */
  unchangedAfter(snapshot: Snapshot, of: MadeOf): boolean;
}

/** Milliseconds for which a change is remembered. */
export const KEPT_MS = 60_000;

interface Heard {
  readonly place: number;
  /** The last transaction that changed it; undefined while it is known only from this process, before the database told it. */
  readonly xid: bigint | undefined;
  readonly at: number;
}

const NEVER: Heard = { place: 0, xid: 0n, at: 0 };

export function createListingHistory(clock: () => number = () => performance.now()): ListingHistory {
  const byDoctor = new Map<string, Heard>();
  let [profile, anything, floor]: [Heard, Heard, number] = [NEVER, NEVER, 0];
  let place = 0;

  function forget(at: number): void {
    for (const [doctorId, heard] of byDoctor) {
      if (heard.at > at - KEPT_MS) return;
      byDoctor.delete(doctorId);
    }
  }
  function all(of: MadeOf, unchanged: (heard: Heard) => boolean): boolean {
    if (of.also === 'everything') return unchanged(anything);
    if (of.also === 'profiles' && !unchanged(profile)) return false;
    return of.doctors.every((doctorId) => unchanged(byDoctor.get(doctorId) ?? NEVER));
  }
  return {
    now: () => place,
    hear(changes, xid) {
      const at = clock();
      forget(at);
      for (const { doctorId, profile: ofProfile } of changes) {
        place += 1;
        const heard = { place, xid, at };
        byDoctor.delete(doctorId); // so that the map stays in the order of time
        byDoctor.set(doctorId, heard);
        anything = heard;
        if (ofProfile) profile = heard;
      }
    },
    missed() {
      place += 1;
      floor = place;
    },
    unchangedSince: (since, of) => since >= floor && all(of, (heard) => heard.place <= since),
    unchangedAfter: ({ xmin }, of) => all(of, ({ xid }) => xid !== undefined && xid < xmin),
  };
}
