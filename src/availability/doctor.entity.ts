import { defineEntity, p } from '@mikro-orm/postgresql';
import { fieldInvalid } from '../fault.ts';

/** Whether a doctor may publish and be booked. */
export type DoctorState = 'PENDING' | 'ACTIVE' | 'SUSPENDED';

export const DoctorSchema = defineEntity({
  name: 'Doctor',
  tableName: 'doctor',
  properties: {
    userId: p.uuid().primary(),
    specialties: p.array(),
    /** Lower case, for search. */
    specialtyKeys: p.array(),
    languages: p.array(),
    /** Lower case, for search. */
    languageKeys: p.array(),
    bio: p.text(),
    state: p.text().$type<DoctorState>(),
    createdAt: p.datetime(),
    updatedAt: p.datetime(),
  },
});

/** What a doctor's profile says beside the name. */
export type Profile = Pick<Doctor, 'specialties' | 'languages' | 'bio'>;

/** The professional side of a doctor's account; name and time zone are the account's. */
export class Doctor extends DoctorSchema.class {
  /** A doctor who has just signed up and waits for approval. */
  static pending(userId: string, now: Date): Doctor {
    const empty = { specialties: [], specialtyKeys: [], languages: [], languageKeys: [], bio: '' };
    return Object.assign(new Doctor(), { userId, ...empty, state: 'PENDING', createdAt: now, updatedAt: now });
  }

  approve(now: Date): void {
    if (this.state === 'ACTIVE') return;
    this.state = 'ACTIVE';
    this.updatedAt = now;
  }

  suspend(now: Date): void {
    if (this.state === 'SUSPENDED') return;
    this.state = 'SUSPENDED';
    this.updatedAt = now;
  }

  /** Sets the given parts of the profile; the others stay. Throws FIELD_INVALID for two that differ only in letter case. */
  describe({ specialties, languages, bio }: Partial<Profile>, now: Date): void {
    if (specialties) {
      this.specialties = trimmed(specialties);
      this.specialtyKeys = distinctKeys('specialties', this.specialties);
    }
    if (languages) {
      this.languages = trimmed(languages);
      this.languageKeys = distinctKeys('languages', this.languages);
    }
    if (bio !== undefined) this.bio = bio;
    this.updatedAt = now;
  }
}
DoctorSchema.setClass(Doctor);

/** The form in which specialties and languages are compared. */
export function searchKey(text: string): string {
  return text.normalize('NFC').trim().toLowerCase();
}

function distinctKeys(field: string, texts: readonly string[]): string[] {
  const keys = texts.map(searchKey);
  if (new Set(keys).size === keys.length) return keys;
  throw fieldInvalid(`doctor.${field}`, 'must have no two alike; letter case does not count', 'repeated.unique');
}

function trimmed(texts: readonly string[]): string[] {
  return texts.map((text) => text.normalize('NFC').trim());
}
