import { setTimeout as sleep } from 'node:timers/promises';
import { create, type DescMethodUnary, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { ErrorInfoSchema, RetryInfoSchema } from '../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../gen/google/rpc/status_pb.ts';

/** How one call ended. */
export interface Sent {
  /** Milliseconds from when it was due, not from when it could be sent. */
  readonly ms: number;
  /** `OK`, the refusal's reason, or the name of the code when there is none. */
  readonly reason: string;
  /** Whether the refusal says when to come again. */
  readonly retryInfo: boolean;
}

/** One call to make. */
export interface Planned<M extends DescMethodUnary = DescMethodUnary> {
  readonly method: M;
  readonly message: MessageInitShape<M['input']>;
  readonly headers: Readonly<Record<string, string>>;
}

const CONNECTIONS = 8;
const DEADLINE_MS = 5_000;

/** A client of one instance that is cheap enough to offer more than the instance can take. */
export interface Load {
  /** Makes calls at a steady rate, whether or not earlier ones have ended: `perSecond`, for `seconds`. */
  offer(rate: { perSecond: number; seconds: number }, plan: () => Planned): Promise<Sent[]>;
  /** Keeps `count` calls under way for `seconds`, as fast as they are answered. */
  keepBusy(load: { count: number; seconds: number }, plan: () => Planned): Promise<Sent[]>;
  close(): void;
}

/** Opens connections to the gRPC port of an instance on 127.0.0.1. */
export function openLoad(grpcPort: number): Load {
  const options = { 'grpc.use_local_subchannel_pool': 1 };
  const clients = Array.from(
    { length: CONNECTIONS },
    () => new Client(`127.0.0.1:${grpcPort}`, credentials.createInsecure(), options),
  );
  let turn = 0;
  const send = (planned: Planned, dueAt: number) => call(clients[turn++ % CONNECTIONS] as Client, planned, dueAt);
  return {
    async offer({ perSecond, seconds }, plan) {
      const startedAt = performance.now();
      const calls: Promise<Sent>[] = [];
      for (let i = 0; i < perSecond * seconds; i++) {
        const dueAt = startedAt + (1000 * i) / perSecond;
        if (dueAt - performance.now() > 2) await sleep(dueAt - performance.now());
        calls.push(send(plan(), dueAt));
      }
      return Promise.all(calls);
    },
    async keepBusy({ count, seconds }, plan) {
      const until = performance.now() + 1000 * seconds;
      const sent: Sent[] = [];
      const one = async () => {
        while (performance.now() < until) sent.push(await send(plan(), performance.now()));
      };
      await Promise.all(Array.from({ length: count }, one));
      return sent;
    },
    close() {
      for (const client of clients) client.close();
    },
  };
}

function call(client: Client, { method, message, headers }: Planned, dueAt: number): Promise<Sent> {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  const bytes = Buffer.from(toBinary(method.input, create(method.input, message)));
  const path = `/${method.parent.typeName}/${method.name}`;
  return new Promise((resolve) => {
    const ended = (error: ServiceError | null) =>
      resolve({ ms: performance.now() - dueAt, ...(error ? toldBy(error) : { reason: 'OK', retryInfo: false }) });
    const deadline = Date.now() + DEADLINE_MS;
    client.makeUnaryRequest(path, asIs, asIs, bytes, metadata, { deadline }, ended);
  });
}

const asIs = (bytes: Buffer) => bytes;

function toldBy(error: ServiceError): Pick<Sent, 'reason' | 'retryInfo'> {
  const [bytes] = error.metadata?.get('grpc-status-details-bin') ?? [];
  const details = bytes instanceof Uint8Array ? fromBinary(StatusSchema, bytes).details : [];
  const [info] = details.map((any) => anyUnpack(any, ErrorInfoSchema)).filter((one) => one !== undefined);
  const retryInfo = details.some((any) => anyUnpack(any, RetryInfoSchema) !== undefined);
  return { reason: info?.reason ?? status[error.code] ?? '', retryInfo };
}

/** The `share` quantile of some milliseconds, such as 0.95. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
