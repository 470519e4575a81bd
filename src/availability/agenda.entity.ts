import { defineEntity, p } from '@mikro-orm/postgresql';

export const AgendaSchema = defineEntity({
  name: 'Agenda',
  tableName: 'agenda',
  properties: {
    doctorId: p.uuid().primary(),
    dueAt: p.datetime().nullable(),
    filledAt: p.datetime(),
  },
});

/** When the slots of a doctor's schedules were last brought up to date, and when they are to be next. */
export class Agenda extends AgendaSchema.class {
  static begin(doctorId: string, now: Date): Agenda {
    return Object.assign(new Agenda(), { doctorId, dueAt: null, filledAt: now });
  }

  /** `dueAt`: when there is more to do; null: not before schedules change or the doctor is approved. */
  filled(dueAt: Date | null, now: Date): void {
    this.dueAt = dueAt;
    this.filledAt = now;
  }
}
AgendaSchema.setClass(Agenda);
