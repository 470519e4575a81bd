import type { DescService } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { AdminService } from '../../gen/amrutam/admin/v1/admin_pb.ts';
import { AuthService } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingService } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { forkFor, rows, type Sql } from '../../src/db/statement.ts';
import type { TestServer } from './server.ts';

/** Clients of every service, over real HTTP. */
export interface Clients {
  readonly auth: Client<typeof AuthService>;
  readonly availability: Client<typeof AvailabilityService>;
  readonly booking: Client<typeof BookingService>;
  readonly admin: Client<typeof AdminService>;
}

export function clientsOf(server: TestServer): Clients {
  const transport = createConnectTransport({
    baseUrl: `http://127.0.0.1:${server.httpPort}`,
    httpVersion: '1.1',
    useBinaryFormat: true,
  });
  const client = <S extends DescService>(service: S) => createClient(service, transport);
  return {
    auth: client(AuthService),
    availability: client(AvailabilityService),
    booking: client(BookingService),
    admin: client(AdminService),
  };
}

/** A refusal as a client sees it: the reason, its metadata and the code's name; the error itself for its details. */
export interface Refusal {
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly code: string;
  readonly error: ConnectError;
}

/** The refusal of a call; throws when it was answered. */
export async function refusal(call: Promise<unknown>): Promise<Refusal> {
  const error = await call.then(
    () => {
      throw new Error('the call was not refused');
    },
    (thrown) => ConnectError.from(thrown),
  );
  const [info] = error.findDetails(ErrorInfoSchema);
  if (!info) throw error;
  return { reason: info.reason, metadata: info.metadata, code: Code[error.code], error };
}

/** The reason for which a call was refused; throws when it was answered. */
export async function reasonOf(call: Promise<unknown>): Promise<string> {
  return (await refusal(call)).reason;
}

/** Runs one statement on the database of a test server. */
export function query<T = Record<string, unknown>>(server: TestServer, statement: Sql): Promise<T[]> {
  return rows<T>(forkFor(server.orm), statement);
}
