import { readFileSync } from 'node:fs';
import { deserialize } from 'node:v8';
import { fromBinary } from '@bufbuild/protobuf';
import pg from 'pg';
import { BookSlotRequestSchema } from '../gen/amrutam/booking/v1/booking_pb.ts';
import { idOf, numberOf } from './clinic.ts';
import { serveOneMethod } from './one-method.ts';
import type { Differing, RecordedBooking, Value } from './recorded-booking.ts';

// What a booking would cost if nothing stood around it: a handler on grpc-js that sends the product's own statements, prepared,
// through a pool of pg. No token, role, rule, deadline, log or limit. A process of its own; says `{"grpcPort":…}`.

const [file = '', url = '', doctorsText = ''] = process.argv.slice(2);
const doctors = Number(doctorsText);
const { statements, answer, startAt } = deserialize(readFileSync(file)) as RecordedBooking;
const answerBytes = Buffer.from(answer);
const pool = new pg.Pool({ connectionString: url, max: 20 });

async function book(slotId: string, requestId: string): Promise<void> {
  const n = numberOf(slotId);
  const at = startAt.getTime() + (Math.floor(n / doctors / 16) * 48 + (Math.floor(n / doctors) % 16)) * 30 * 60_000;
  const each: Record<Differing, unknown> = {
    patient: idOf('patient', n % doctors),
    session: idOf('session', n % doctors),
    doctor: idOf('doctor', n % doctors),
    slot: slotId,
    request: requestId,
    booking: idOf('booking', n),
    event: idOf('event', n),
    start: new Date(at),
    end: new Date(at + 30 * 60_000),
    now: new Date(),
  };
  const filled = (value: Value): unknown =>
    'list' in value ? value.list.map(filled) : 'each' in value ? each[value.each] : value.fixed;
  const client = await pool.connect();
  try {
    for (const [i, { text, values }] of statements.entries()) {
      await client.query(values.length ? { name: `s${i}`, text, values: values.map(filled) } : text);
    }
  } finally {
    client.release();
  }
}

serveOneMethod('/amrutam.booking.v1.BookingService/BookSlot', (request, done) => {
  const { slotId, requestId } = fromBinary(BookSlotRequestSchema, request);
  book(slotId, requestId).then(() => done(null, answerBytes), done);
});
