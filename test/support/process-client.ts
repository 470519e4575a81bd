import { type CallOptions, type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { AdminService } from '../../gen/amrutam/admin/v1/admin_pb.ts';
import { AuthService } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingService } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';

/** Every service of the contract, over one protocol. A Person is the options of a call made by that person. */
export interface Clients {
  readonly auth: Client<typeof AuthService>;
  readonly availability: Client<typeof AvailabilityService>;
  readonly booking: Client<typeof BookingService>;
  readonly admin: Client<typeof AdminService>;
}

/** Where a server listens on 127.0.0.1. */
export interface Ports {
  readonly grpcPort: number;
  readonly httpPort: number;
}

/** Clients by native gRPC and by JSON over HTTP/1.1. */
export interface BothClients {
  readonly grpc: Clients;
  readonly json: Clients;
  /** One of the two in turn, so that half of a crowd comes through each listener. */
  turn(index: number): Clients;
}

/** Clients of a server, over both of its listeners. */
export function clientsOf({ grpcPort, httpPort }: Ports): BothClients {
  const grpc = clientsOver(createGrpcTransport({ baseUrl: `http://127.0.0.1:${grpcPort}` }));
  const json = clientsOver(
    createConnectTransport({ baseUrl: `http://127.0.0.1:${httpPort}`, httpVersion: '1.1', useBinaryFormat: false }),
  );
  return { grpc, json, turn: (index) => (index % 2 ? json : grpc) };
}

/** Clients by way of `transport`. */
export function clientsOver(transport: Transport): Clients {
  return {
    auth: createClient(AuthService, transport),
    availability: createClient(AvailabilityService, transport),
    booking: createClient(BookingService, transport),
    admin: createClient(AdminService, transport),
  };
}

/** How a call ended. */
export interface Outcome<T> {
  /** `OK`, the reason of the refusal, or the name of the code when there is none. */
  readonly reason: string;
  /** Absent when the call was refused. */
  readonly answer: T | undefined;
  /** Absent when the call was answered. */
  readonly error: ConnectError | undefined;
  /** Whether the answer or refusal was given before. */
  readonly replayed: boolean;
}

/** Makes a call with the options of `caller`, and tells how it ended. Never rejects. */
export async function outcomeOf<T>(
  caller: CallOptions,
  call: (options: CallOptions) => Promise<T>,
): Promise<Outcome<T>> {
  let replayed = false;
  const onHeader = (headers: Headers) => {
    replayed = headers.get('idempotency-replayed') === 'true';
  };
  try {
    const answer = await call({ ...caller, onHeader });
    return { reason: 'OK', answer, error: undefined, replayed };
  } catch (failure) {
    const error = ConnectError.from(failure);
    const reason = error.findDetails(ErrorInfoSchema)[0]?.reason ?? Code[error.code];
    return { reason, answer: undefined, error, replayed: error.metadata.get('idempotency-replayed') === 'true' };
  }
}

/** How many ended in which way. */
export function tally(outcomes: readonly Outcome<unknown>[]): Record<string, number> {
  const groups = Map.groupBy(outcomes, ({ reason }) => reason);
  return Object.fromEntries([...groups].map(([reason, { length }]) => [reason, length]));
}
