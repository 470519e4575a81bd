import type { Random } from './random.ts';

/** Ids, tokens and addresses that stand for something, by what they stand for. */
export interface Pool {
  add(kind: string, value: string): void;
  /** Keeps what an answer, as JSON has it, tells. */
  harvest(answer: unknown): void;
  /** Something for a field of that name, of the right kind most of the time; undefined when none is known. */
  pick(field: string, random: Random): string | undefined;
}

const MOST = 100;
/** What a field of a request stands for, by the end of its name. */
const KIND = /(slot|booking|doctor|patient|user|session|actor|entity)_id$|(email|password|refresh_token|page_token)$/;
const SAME: Readonly<Record<string, string>> = { patient: 'user', actor: 'user', entity: 'booking' };

export function createPool(): Pool {
  const known = new Map<string, string[]>();
  const add = (kind: string, value: string) => {
    const values = known.get(kind) ?? [];
    known.set(kind, values);
    if (values.includes(value)) return;
    values.push(value);
    if (values.length > MOST) values.splice(1, 1);
  };
  const harvest = (answer: unknown, kind = '') => {
    if (Array.isArray(answer)) for (const item of answer) harvest(item, kind);
    else if (typeof answer === 'object' && answer !== null) {
      for (const [key, value] of Object.entries(answer)) {
        if (key === 'id' && typeof value === 'string') add(kind, value);
        else if (key === 'nextPageToken' && value) add('page_token', String(value));
        else if (key === 'refreshToken' && value) add('refresh_token', String(value));
        else harvest(value, key.replace(/s$/, ''));
      }
    }
  };
  return {
    add,
    harvest,
    pick(field, random) {
      const [, entity, other] = KIND.exec(field) ?? [];
      const kind = other ?? SAME[entity ?? ''] ?? entity ?? '';
      const any = random.chance(0.05) ? random.pick([...known.values()]) : known.get(kind);
      if (!any || any.length === 0) return undefined;
      // What came last belongs to those who call now.
      return random.pick(random.chance(0.7) ? any.slice(-8) : any);
    },
  };
}
