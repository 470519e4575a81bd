import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import {
  type Client,
  type ClientReadableStream,
  type ClientUnaryCall,
  Metadata,
  type StatusObject,
  status,
} from '@grpc/grpc-js';
import type { CallOptions } from './call-options.ts';
import { isRepeatable, retrying } from './retry.ts';
import { RpcError } from './rpc-error.ts';

/** What the server gives when nothing is asked. */
const DEFAULT_DEADLINE_MS = 5_000;

/** Where calls go, and who makes them. */
export interface Line {
  readonly client: Client;
  /** The access token now; absent: anonymous. */
  readonly token: () => string | undefined | Promise<string | undefined>;
}

type Method<I extends DescMessage, O extends DescMessage> = DescMethod & { readonly input: I; readonly output: O };

/** Makes a unary call, as often as its options allow. Rejects with RpcError. */
export async function callUnary<I extends DescMessage, O extends DescMessage>(
  line: Line,
  method: Method<I, O>,
  init: MessageInitShape<I>,
  options: CallOptions,
): Promise<MessageShape<O>> {
  const { deadlineMs = DEFAULT_DEADLINE_MS, retry, signal } = options;
  const endsAt = Date.now() + deadlineMs;
  const request = create(method.input, init);
  const bytes = toBinary(method.input, request);
  const attempt = async () => {
    const metadata = await requestMetadata(line, options);
    return new Promise<MessageShape<O>>((resolve, reject) => {
      const call = line.client.makeUnaryRequest(
        pathOf(method),
        asBuffer,
        (answer: Buffer) => fromBinary(method.output, answer),
        bytes,
        metadata,
        { deadline: endsAt },
        (error, response) => {
          unfollow();
          if (error) reject(errorOf(error, signal));
          else resolve(response as MessageShape<O>);
        },
      );
      const unfollow = follow(call, options);
    });
  };
  return retrying(attempt, {
    attempts: retry?.attempts ?? 1,
    endsAt,
    repeatable: isRepeatable(method, request),
    signal,
  });
}

/** Makes a server-streaming call, which begins when it is first read and ends when it is no longer. Throws RpcError. */
export async function* callServerStream<I extends DescMessage, O extends DescMessage>(
  line: Line,
  method: Method<I, O>,
  init: MessageInitShape<I>,
  options: CallOptions,
): AsyncGenerator<MessageShape<O>, void, undefined> {
  const { deadlineMs = Number.POSITIVE_INFINITY, signal } = options;
  const endsAt = Date.now() + deadlineMs;
  const call = line.client.makeServerStreamRequest(
    pathOf(method),
    asBuffer,
    (answer: Buffer) => fromBinary(method.output, answer),
    toBinary(method.input, create(method.input, init)),
    await requestMetadata(line, options),
    { deadline: endsAt },
  );
  const unfollow = follow(call, options);
  // The end of a call that nobody reads any more.
  call.on('error', () => {});
  try {
    for await (const response of call) yield response;
  } catch (error) {
    throw errorOf(error as StatusObject, signal);
  } finally {
    unfollow();
    call.cancel();
  }
}

async function requestMetadata({ token }: Line, { metadata = {}, signal }: CallOptions): Promise<Metadata> {
  const sent = new Metadata();
  for (const [key, value] of Object.entries(metadata)) sent.set(key, value);
  const bearer = await token();
  if (bearer !== undefined) sent.set('authorization', `Bearer ${bearer}`);
  if (signal?.aborted)
    throw errorOf({ code: status.CANCELLED, details: 'cancelled', metadata: new Metadata() }, signal);
  return sent;
}

/** Connects the call with who waits for it; answers how to let go of the signal. */
function follow(
  call: ClientUnaryCall | ClientReadableStream<unknown>,
  { signal, onHeader, onTrailer }: CallOptions,
): () => void {
  if (onHeader) call.on('metadata', onHeader);
  if (onTrailer) call.on('status', ({ metadata }: StatusObject) => onTrailer(metadata));
  const cancel = () => call.cancel();
  signal?.addEventListener('abort', cancel);
  return () => signal?.removeEventListener('abort', cancel);
}

function errorOf(error: StatusObject, signal: AbortSignal | undefined): RpcError {
  return new RpcError(error, { cause: signal?.aborted ? signal.reason : error });
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
