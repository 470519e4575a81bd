import { Code } from '@connectrpc/connect';
import type { MikroORM } from '@mikro-orm/postgresql';
import { AdminService } from '../gen/amrutam/admin/v1/admin_pb.ts';
import { AuthService } from '../gen/amrutam/auth/v1/auth_pb.ts';
import { AvailabilityService } from '../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingService } from '../gen/amrutam/booking/v1/booking_pb.ts';
import { createReportCache } from './admin/report-cache.ts';
import { adminService } from './admin/service.ts';
import { shareReports } from './admin/shared-reports.ts';
import { recordEvent } from './audit/record-event.ts';
import { NO_KEYS, readSealKeys } from './audit/seal-keys.ts';
import { createAccessTokens } from './auth/access-token.ts';
import { createLiveSessions } from './auth/live-sessions.ts';
import type { PasswordHasher } from './auth/password.ts';
import { authService } from './auth/service.ts';
import type { Enrol } from './auth/sign-up.ts';
import type { SigningKeys } from './auth/signing-keys.ts';
import { Doctor } from './availability/doctor.entity.ts';
import { createListingCache } from './availability/listing-cache.ts';
import { listingChanges, noteListingChanges } from './availability/listing-change.ts';
import { followListings } from './availability/listing-feed.ts';
import { createListingHistory, type ListingHistory } from './availability/listing-history.ts';
import { availabilityService } from './availability/service.ts';
import { shareListings } from './availability/shared-listings.ts';
import type { Shelf } from './availability/shelf.ts';
import { bookingService } from './booking/service.ts';
import type { Readiness } from './db/readiness.ts';
import type { Replica } from './db/replica.ts';
import { type AnswerCodec, createUnitsOfWork, type UnitsOfWork } from './db/unit-of-work.ts';
import type { Logger } from './log.ts';
import type { Metrics } from './metrics/metrics.ts';
import { authenticate } from './rpc/authenticate.ts';
import { authorize } from './rpc/authorize.ts';
import { canonicalIds } from './rpc/canonical-ids.ts';
import { endPromptly } from './rpc/deadline.ts';
import { CODE, refusalBytes, refusalFromBytes } from './rpc/errors.ts';
import { grpcListener } from './rpc/grpc-listener.ts';
import { health } from './rpc/health.ts';
import { httpListener } from './rpc/http-listener.ts';
import { type Listener, route, type TlsPair } from './rpc/listener.ts';
import { requireLiveSession } from './rpc/live-session.ts';
import { observe } from './rpc/observe.ts';
import { limitRates, type RateLimit, type TakeTurn } from './rpc/rate-limit.ts';
import { reflection } from './rpc/reflection.ts';
import { shedLoad } from './rpc/shed-load.ts';
import { translateErrors } from './rpc/translate.ts';
import { validate } from './rpc/validate.ts';

/** The services of the contract. */
export const SERVICES = [AuthService, AvailabilityService, BookingService, AdminService] as const;

/** How often the methods may be called that invite guessing, floods and hoarding. */
const RATE_LIMITS: readonly RateLimit[] = [
  { method: BookingService.method.bookSlot, perMinute: 60, per: 'account' },
  { method: AvailabilityService.method.createSchedule, perMinute: 10, per: 'account' },
  { method: AvailabilityService.method.updateSchedule, perMinute: 10, per: 'account' },
  { method: AvailabilityService.method.previewSchedule, perMinute: 60, per: 'account' },
  { method: AvailabilityService.method.addException, perMinute: 60, per: 'account' },
  { method: AvailabilityService.method.removeException, perMinute: 60, per: 'account' },
  { method: AuthService.method.changePassword, perMinute: 10, per: 'account' },
  { method: AuthService.method.logIn, perMinute: 60, per: 'client' },
  { method: AuthService.method.signUp, perMinute: 30, per: 'client' },
  { method: AuthService.method.requestEmailVerification, perMinute: 5, per: 'account' },
  { method: AuthService.method.verifyEmail, perMinute: 10, per: 'client' },
  { method: AuthService.method.requestPasswordReset, perMinute: 10, per: 'client' },
  { method: AuthService.method.resetPassword, perMinute: 10, per: 'client' },
];

/** What the server is made of. */
export interface ServerDeps {
  readonly orm: MikroORM;
  /** Connections of `orm`, and milliseconds that a call waits for one. */
  readonly databasePool: number;
  readonly poolWaitMs: number;
  /** Where lists and reports are read; absent: from `orm`, as everything else. */
  readonly replica?: Replica | undefined;
  readonly keys: SigningKeys;
  /** Of the keys that seal the audit log; absent: no seal can be verified. */
  readonly auditKeysFile?: string | undefined;
  readonly passwords: PasswordHasher;
  readonly log: Logger;
  /** Absent: nothing is counted. */
  readonly metrics?: Pick<Metrics, 'called' | 'listed' | 'reported' | 'turnedAway'> | undefined;
  readonly ready: () => Promise<Readiness>;
  readonly jwt: { readonly issuer: string; readonly audience: string };
  readonly instance: string;
  /** How mails are sent; absent: none is. Sending them is a background job's. */
  readonly mail?: object | undefined;
  readonly corsOrigins: readonly string[];
  readonly trustedProxies: readonly string[];
  readonly tls?: TlsPair | undefined;
  /** Where instances share what they have read; absent: each keeps its own. */
  readonly shelf?: Shelf | undefined;
  /** Counts calls against the limits; absent: there are none. */
  readonly takeTurn?: TakeTurn | undefined;
  /** Milliseconds added to the clock; for tests. */
  readonly shiftMs?: () => number;
}

/** A server that doesn't listen yet. */
export interface Server {
  readonly grpc: Listener;
  readonly http: Listener;
  readonly units: UnitsOfWork;
  /** What the health service and its watchers are told. It begins with not serving. */
  setServing(serving: boolean): void;
  /** Ends what goes on beside calls. */
  close(): void;
}

/** Builds everything: one set of handlers behind one chain of interceptors, on two listeners. */
export function build(deps: ServerDeps): Server {
  const { keys, passwords, log, metrics } = deps;
  const history = createListingHistory();
  const feed = followListings(deps.orm, history);
  const units = createUnits({ ...deps, history });
  const shared = deps.shelf && shareListings(deps.shelf, history, feed);
  const now = () => new Date(Date.now() + (deps.shiftMs?.() ?? 0));
  const listings = createListingCache({ history, feed, shared, count: metrics?.listed, now });
  const reports = createReportCache({
    shared: deps.shelf && shareReports(deps.shelf, feed),
    count: metrics?.reported,
  });
  const tokens = createAccessTokens({ ...deps.jwt, keys, now: () => new Date() });
  const sessions = createLiveSessions(units);
  const { auditKeysFile } = deps;
  const sealKeys = async () => (auditKeysFile ? readSealKeys(auditKeysFile) : NO_KEYS);
  const status = health(SERVICES);
  const open = [status.route, ...reflection([...SERVICES, status.route.service])];
  const options = {
    routes: [
      route(AuthService, authService({ units, passwords, tokens, sessions, enrol, mails: deps.mail !== undefined })),
      route(AvailabilityService, availabilityService({ units, listings })),
      route(BookingService, bookingService({ units })),
      route(AdminService, adminService({ units, reports, sessions, sealKeys })),
      ...open,
    ],
    interceptors: [
      observe(log, metrics?.called),
      translateErrors(log),
      endPromptly(),
      shedLoad({ full: units.full, except: open.map(({ service }) => service.typeName) }),
      authenticate((token) => tokens.verify(token)),
      authorize({
        publicServices: open.map(({ service }) => service.typeName),
        log,
        denied: (call, denial) => units.recordDenial(call, denial),
      }),
      requireLiveSession((caller, signal) => sessions.check(caller, signal)),
      ...(deps.takeTurn ? [limitRates(RATE_LIMITS, deps.takeTurn)] : []),
      validate(),
      canonicalIds(),
    ],
    log,
    countStray: metrics?.turnedAway,
    trustedProxies: deps.trustedProxies,
    ...(deps.tls && { tls: deps.tls }),
  };
  const pages = { jwks: async () => keys.jwks(), ready: deps.ready, corsOrigins: deps.corsOrigins };
  return {
    grpc: grpcListener(options),
    http: httpListener({ ...options, ...pages }),
    units,
    setServing: status.setServing,
    close: feed.stop,
  };
}

/** The units of work of this process; for commands that serve nothing, too. */
export function createUnits({
  orm,
  databasePool,
  poolWaitMs,
  replica,
  instance,
  shiftMs,
  history,
}: Pick<ServerDeps, 'orm' | 'databasePool' | 'poolWaitMs' | 'replica' | 'instance' | 'shiftMs'> & {
  /** Hears of what this process changes; absent where it keeps no listings. */
  history?: ListingHistory;
}): UnitsOfWork {
  return createUnitsOfWork({
    orm,
    pool: { connections: databasePool, waitMs: poolWaitMs },
    replica,
    codec: keptAnswers,
    recordEvent: recordEvent(instance),
    copies: {
      note: noteListingChanges,
      changed: (entities) => history?.hear(listingChanges(entities)),
    },
    ...(shiftMs && { shiftMs }),
  });
}

/** Refusals that say how things stand are answers, and a retry gets them again; others may fare better next time. */
const keptAnswers: AnswerCodec = {
  keptCode({ reason }) {
    const code = CODE[reason];
    return code === Code.FailedPrecondition || code === Code.NotFound ? code : undefined;
  },
  isDenial: ({ reason }) => CODE[reason] === Code.PermissionDenied,
  refusalBytes,
  refusalFromBytes: (bytes) => refusalFromBytes(bytes, { replayed: true }),
};

/** A doctor's account comes with an empty profile that waits for approval. */
const enrol: Enrol = ({ em }, user, now) => {
  if (user.role === 'DOCTOR') em.persist(Doctor.pending(user.id, now));
};
