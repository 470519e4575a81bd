import { randomUUIDv7 as uuid } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { durationMs, timestampDate } from '@bufbuild/protobuf/wkt';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import { AdminService, AuditOutcome } from '../../gen/amrutam/admin/v1/admin_pb.ts';
import { AuthService, type Session } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { AvailabilityService, type Slot } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import {
  type Booking,
  BookingService,
  BookingStateSchema,
  SlotAlternativesSchema,
} from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { ErrorInfoSchema, RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { type Config, readConfig } from '../config.ts';
import { ownHost } from '../own-host.ts';
import { command } from './command.ts';

const RACERS = 20;
const [bold, dim, green] = [painted(1), painted(2), painted(32)];
let steps = 0;
let waiting = false;

/** npm run demo: plays the main job against a running server with the demonstration clinic, and shows what happens. */
await command(async () => {
  const config = readConfig({ serving: false });
  const clients = connect(config);
  try {
    await play(clients, config.demoPassword);
  } catch (error) {
    throw explained(error, config);
  }
  return `\n${bold('That was it.')} docs/clients.md shows how to call it yourself.`;
});

interface Clients {
  readonly auth: Client<typeof AuthService>;
  readonly availability: Client<typeof AvailabilityService>;
  /** Over native gRPC. */
  readonly booking: Client<typeof BookingService>;
  /** The same service over Connect with JSON, as a browser calls it. */
  readonly bookingJson: Client<typeof BookingService>;
  readonly admin: Client<typeof AdminService>;
}

function connect(config: Config): Clients {
  const { grpcPort, httpPort, tls } = config;
  const at = ownHost(config.host);
  const scheme = tls ? 'https' : 'http';
  const grpc = createGrpcTransport({ baseUrl: `${scheme}://${at}:${grpcPort}` });
  const json = createConnectTransport({
    baseUrl: `${scheme}://${at}:${httpPort}`,
    httpVersion: '1.1',
    useBinaryFormat: false,
  });
  return {
    auth: createClient(AuthService, grpc),
    availability: createClient(AvailabilityService, grpc),
    booking: createClient(BookingService, grpc),
    bookingJson: createClient(BookingService, json),
    admin: createClient(AdminService, grpc),
  };
}

async function play(clients: Clients, password: string): Promise<void> {
  step('Priya logs in');
  const patient = await logIn(clients, 'patient@demo.test', password);
  tell(`an access token for 10 minutes, a refresh token until ${shown(patient.refreshTokenExpireTime)}`);

  step('She looks for a doctor, and misspells the name: "anaya sharma"');
  const { doctors } = await clients.availability.searchDoctors({ query: 'anaya sharma' });
  const [doctor] = doctors;
  if (!doctor) throw new Error('the demonstration clinic has no doctor: fill an empty database with npm run seed');
  tell(`${doctor.displayName}, ${doctor.specialties.join(' and ')}; next free ${shown(doctor.nextOpenTime)}`);
  const [first, second] = (await clients.availability.listSlots({ doctorId: doctor.id, pageSize: 2 })).slots;
  if (!first || !second)
    throw new Error(
      'the demonstration clinic has no open slots left: start the server again, or remove its data folder',
    );

  const booking = await bookTwice(clients, patient, first);
  await race(clients, password, second);
  await cancel(clients, patient, booking);
  await readTrail(clients, password, booking);
}

async function bookTwice({ booking, bookingJson }: Clients, patient: Session, slot: Slot): Promise<Booking> {
  step('She books, over gRPC');
  const request = { requestId: uuid(), slotId: slot.id, reasonForVisit: 'an itch that does not go away' };
  const made = (await booking.bookSlot(request, as(patient))).booking as Booking;
  tell(`booking ${made.id}: ${shown(made.startTime)} with ${made.doctorDisplayName}`);

  step('The answer got lost, so the same request goes out again, now as JSON');
  let replayed: string | null = null;
  const again = await bookingJson.bookSlot(request, {
    ...as(patient),
    onHeader: (header) => (replayed = header.get('idempotency-replayed')),
  });
  tell(`booking ${again.booking?.id}: the same one (idempotency-replayed: ${replayed})`);
  return made;
}

async function race(clients: Clients, password: string, slot: Slot): Promise<void> {
  step(`${RACERS} other patients sign up`);
  const racers = await Promise.all(
    Array.from({ length: RACERS }, (_, i) => signUp(clients, `Patient ${i + 1}`, password)),
  );
  tell(`${racers.length} accounts`);

  step(`All ${RACERS} want ${shown(slot.startTime)} at the same moment, half over gRPC, half as JSON`);
  const started = performance.now();
  const results = await Promise.all(
    racers.map(async (racer, i) => {
      const { bookSlot } = i % 2 ? clients.booking : clients.bookingJson;
      const outcome = await bookSlot({ requestId: uuid(), slotId: slot.id }, as(racer)).then(
        ({ booking }) => booking,
        ConnectError.from,
      );
      return { racer, outcome, ms: performance.now() - started };
    }),
  );
  for (const { racer, outcome, ms } of results.sort((a, b) => a.ms - b.ms)) {
    const won = !(outcome instanceof ConnectError);
    tell(
      `${`${ms.toFixed(0)} ms`.padStart(7)}  ${racer.user?.displayName.padEnd(10)}  ${won ? green('gets the slot') : dim(refusal(outcome))}`,
    );
  }
  for (const { racer, outcome } of results) {
    if (!(outcome instanceof ConnectError))
      await clients.booking.cancelBooking(
        { requestId: uuid(), bookingId: outcome?.id ?? '', reason: 'only a demonstration' },
        as(racer),
      );
  }
}

async function cancel({ booking, availability }: Clients, patient: Session, made: Booking): Promise<void> {
  step('Priya cancels');
  const { booking: cancelled } = await booking.cancelBooking(
    { requestId: uuid(), bookingId: made.id, reason: 'it went away' },
    as(patient),
  );
  const { slot } = await availability.getSlot({ slotId: made.slotId });
  tell(
    `the booking is ${BookingStateSchema.value[cancelled?.state ?? 0]?.localName}; the slot of ${shown(slot?.startTime)} is open again`,
  );
}

async function readTrail(clients: Clients, password: string, { id }: Booking): Promise<void> {
  step('An administrator reads the audit trail of that booking');
  const admin = await logIn(clients, 'admin@demo.test', password);
  const { events } = await clients.admin.listAuditEvents({ entityId: id }, as(admin));
  for (const { recordTime, action, outcome, changedFields } of events) {
    tell(
      `${shown(recordTime)}  ${action.padEnd(14)} ${outcome === AuditOutcome.DONE ? 'done' : 'refused'}  ${dim(changedFields.join(' '))}`,
    );
  }
}

async function logIn({ auth }: Clients, email: string, password: string): Promise<Session> {
  return (await auth.logIn({ email, password })).session as Session;
}

async function signUp({ auth }: Clients, displayName: string, password: string): Promise<Session> {
  const email = `${uuid()}@demo.test`;
  const account = { email, password, displayName, role: Role.PATIENT, timeZone: 'Asia/Kolkata' };
  return (await patiently(() => auth.signUp(account))).session as Session;
}

/** A second demonstration within a minute passes the limit on sign-ups: it waits as long as the refusal says. */
async function patiently<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const refused = ConnectError.from(error);
      const [retry] = refused.findDetails(RetryInfoSchema);
      if (refused.code !== Code.ResourceExhausted || !retry?.retryDelay) throw error;
      const ms = durationMs(retry.retryDelay);
      if (!waiting) tell(dim(`too many sign-ups from here within a minute: on it goes in ${Math.ceil(ms / 1000)} s`));
      waiting = true;
      await sleep(ms);
    }
  }
}

function as({ accessToken }: Session) {
  return { headers: { authorization: `Bearer ${accessToken}` } };
}

function refusal(error: ConnectError): string {
  const [info] = error.findDetails(ErrorInfoSchema);
  const [others] = error.findDetails(SlotAlternativesSchema);
  const offered = others?.slots.length
    ? `; offered ${others.slots.map(({ startTime }) => shown(startTime).slice(-5)).join(', ')}`
    : '';
  return `${info?.reason ?? error.rawMessage}${offered}`;
}

function explained(error: unknown, { host, grpcPort }: Config): Error {
  const { message } = ConnectError.from(error);
  if (!/ECONNREFUSED|ENOTFOUND|EHOSTUNREACH/.test(message)) return error as Error;
  return new Error(`Nothing answers at ${host}:${grpcPort}. Start the server first, in another terminal: npm start`);
}

/** A moment in the clinic's own time. */
function shown(time: Parameters<typeof timestampDate>[0] | undefined): string {
  if (!time) return 'never';
  const options = {
    timeZone: 'Asia/Kolkata',
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  } as const;
  return new Intl.DateTimeFormat('en-GB', options).format(timestampDate(time));
}

function step(what: string): void {
  steps += 1;
  process.stdout.write(`\n${bold(`${steps}. ${what}`)}\n`);
}

function tell(what: string): void {
  process.stdout.write(`   ${what}\n`);
}

function painted(code: number): (text: string) => string {
  return (text) => (process.stdout.isTTY ? `\u001b[${code}m${text}\u001b[0m` : text);
}
