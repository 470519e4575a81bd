import { randomUUID } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import pg from 'pg';
import { BookSlotResponseSchema } from '../gen/amrutam/booking/v1/booking_pb.ts';
import { bookSlot } from '../src/booking/book-slot.ts';
import { bookingMessage } from '../src/booking/message.ts';
import type { Call } from '../src/caller.ts';
import { createOrm } from '../src/db/orm.ts';
import { sql } from '../src/db/sql.ts';
import { row } from '../src/db/statement.ts';
import type { UnitsOfWork } from '../src/db/unit-of-work.ts';
import { entities } from '../src/entities.ts';
import { createUnits } from '../src/server.ts';
import { idOf } from './clinic.ts';

/** What differs from one booking to the next. */
export type Differing =
  | 'patient'
  | 'session'
  | 'doctor'
  | 'slot'
  | 'request'
  | 'booking'
  | 'event'
  | 'start'
  | 'end'
  | 'now';

/** A value of a statement: one that differs, a list, or the same each time. */
export type Value = { readonly each: Differing } | { readonly list: readonly Value[] } | { readonly fixed: unknown };

/** One statement of a booking, as it was sent. */
export interface Recorded {
  readonly text: string;
  readonly values: readonly Value[];
  /** Whether the next one was sent without waiting for the answer. */
  readonly withNext: boolean;
}

/** A booking as it was sent. */
export interface RecordedBooking {
  /** In order, begin and commit among them. */
  readonly statements: readonly Recorded[];
  /** The start of the slot that was booked. */
  readonly startAt: Date;
  /** The bytes of the answer. */
  readonly answer: Uint8Array;
}

const REASON = 'a cough';

/** Books the slot `n`, the first booking of its database, as the product does, and listens to what its driver sends. */
export async function recordBooking(url: string, n: number): Promise<RecordedBooking> {
  const orm = createOrm({ url, pool: 1, poolWaitMs: 5_000, applicationName: 'recorder' }, entities);
  const units = createUnits({ orm, databasePool: 1, poolWaitMs: 5_000, instance: 'bench' });
  const asked = {
    patient: idOf('patient', n),
    session: idOf('session', n),
    slot: idOf('slot', n),
    request: randomUUID(),
  };
  const wire = listenIn();
  try {
    const answer = await book(units, asked);
    const begun = wire.sent.findIndex(({ text }) => /^(begin|start transaction)/i.test(text));
    // By its connection: others of this process may ask something meanwhile.
    const sent = wire.sent.slice(begun).filter(({ by }) => by === wire.sent[begun]?.by);
    const made = await madeIn(units);
    const recordedValue = naming({ ...asked, ...made, doctor: idOf('doctor', n) });
    const statements = sent.map(({ text, values, withNext }) => ({
      text,
      withNext,
      values: values.map(recordedValue),
    }));
    return { statements, startAt: made.start, answer };
  } finally {
    wire.stop();
    await orm.close();
  }
}

/** As BookSlot's handler does. Answers the bytes of the answer. */
async function book(
  units: UnitsOfWork,
  {
    patient,
    session,
    slot: slotId,
    request: requestId,
  }: Readonly<Record<'patient' | 'session' | 'slot' | 'request', string>>,
): Promise<Uint8Array> {
  const call: Call = {
    caller: { userId: patient, sessionId: session, role: 'PATIENT' },
    method: 'BookSlot',
    traceId: randomUUID(),
    clientAddress: '127.0.0.1',
    userAgent: 'bench',
    signal: new AbortController().signal,
  };
  const { bytes } = await units.once(
    call,
    { requestId, slotId, asks: [slotId, REASON] },
    async (work) => {
      const booked = await bookSlot(work, { slotId, patientId: patient, reasonForVisit: REASON });
      return create(BookSlotResponseSchema, { booking: bookingMessage(booked) });
    },
    (message) => toBinary(BookSlotResponseSchema, message),
  );
  return bytes;
}

interface Made {
  readonly booking: string;
  readonly event: string;
  readonly start: Date;
  readonly end: Date;
  readonly now: Date;
}

/** What the database holds of its only booking. */
async function madeIn(units: UnitsOfWork): Promise<Made> {
  const made = await units.read(AbortSignal.timeout(5_000), (em) =>
    row<Made>(
      em,
      sql`SELECT b.id AS booking, e.id AS event, start_at AS start, end_at AS end, created_at AS now FROM booking b, audit_event e`,
    ),
  );
  if (!made) throw new Error('the booking that was to be recorded is not there');
  return made;
}

/** Knows the values that differ from one booking to the next. */
function naming(each: Readonly<Record<Differing, string | Date>>): (value: unknown) => Value {
  const names = new Map(Object.entries(each).map(([name, value]) => [plain(value), name as Differing]));
  return function recordedValue(value): Value {
    if (Array.isArray(value)) return { list: value.map(recordedValue) };
    const name = names.get(plain(value));
    return name ? { each: name } : { fixed: value };
  };
}

function plain(value: unknown): unknown {
  return value instanceof Date ? +value : value;
}

type Sent = { readonly by: Wire; readonly text: string; readonly values: readonly unknown[]; withNext: boolean };

/** Notes every statement that pg sends from here on, whoever asks it to. */
function listenIn(): { readonly sent: Sent[]; stop(): void } {
  const sent: Sent[] = [];
  const texts = new Map<string, string>();
  const wire = (pg as unknown as { Connection: { prototype: Wire } }).Connection.prototype;
  const { parse, bind, query, sync } = wire;
  Object.assign(wire, {
    parse(this: Wire, statement: Statement) {
      texts.set(statement.name ?? '', statement.text);
      return parse.call(this, statement);
    },
    bind(this: Wire, bound: Bound) {
      const text = texts.get(bound.statement ?? '') ?? '';
      sent.push({ by: this, text, values: bound.values ?? [], withNext: true });
      return bind.call(this, bound);
    },
    query(this: Wire, text: string) {
      sent.push({ by: this, text, values: [], withNext: false });
      return query.call(this, text);
    },
    sync(this: Wire) {
      const last = sent.findLast(({ by }) => by === this);
      if (last) last.withNext = false;
      return sync.call(this);
    },
  });
  return { sent, stop: () => void Object.assign(wire, { parse, bind, query, sync }) };
}

interface Statement {
  readonly name?: string;
  readonly text: string;
}
interface Bound {
  readonly statement?: string;
  readonly values?: readonly unknown[];
}
/** What pg writes to a connection; its types don't say so. */
interface Wire {
  parse(statement: Statement): void;
  bind(bound: Bound): void;
  query(text: string): void;
  sync(): void;
}
