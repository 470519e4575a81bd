import {
  create,
  type DescMessage,
  fromBinary,
  type Message,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { MethodImplSpec } from '@connectrpc/connect';
import { type Chain, type ChainRequest, type ChainResponse, only, requestOf } from './chain.ts';
import { malformed } from './framework-error.ts';
import { type GrpcContext, kContext } from './grpc-call.ts';
import { asBuffer } from './grpc-metadata.ts';
import type { Limits } from './limits.ts';
import { kRefusal } from './translate.ts';

/** On an answer: as it travels. Encoded inside the chain, so that one which can't be is an unexpected error like any other. */
const ENCODED = Symbol('encoded');

type Encoded = Message & { [ENCODED]?: Buffer };

/** Makes `bytes` what travels for `message`, whatever it holds. */
export function encodedAs<M extends Message>(message: M, bytes: Uint8Array): M {
  return Object.assign(message, { [ENCODED]: asBuffer(bytes) });
}

/** The request of a call whose one message is `bytes`; unreadable ones make a refusal of it. */
export function requestOfBytes(context: GrpcContext, bytes: Uint8Array): ChainRequest {
  const message = readable(context, bytes);
  return requestOf(context, context.method.methodKind === 'unary' ? message : only(message));
}

/** The request of a call that streams messages. */
export function requestOfStream(context: GrpcContext, messages: AsyncIterable<Uint8Array>): ChainRequest {
  return requestOf(context, read(messages, context.method.input));
}

/** The bytes of an answer that came out of a chain. */
export function bytesOf(desc: DescMessage, message: Message): Buffer {
  return (message as Encoded)[ENCODED] ?? asBuffer(toBinary(desc, message));
}

/** The innermost of a chain: calls the handler of `spec`. */
export function innermost(spec: MethodImplSpec, limits: Limits): Chain {
  const { method } = spec;
  const encode = (output: MessageInitShape<DescMessage>) =>
    encodedAnswer(create(method.output, output), method.output, limits);
  return async (req) => {
    const context = req.contextValues.get(kContext);
    if (!context) throw new Error('a chain was called without its context');
    const message = await answer(spec, req, context);
    const { responseHeader: header, responseTrailer: trailer } = context;
    const common = { service: method.parent, method, header, trailer };
    if (Symbol.asyncIterator in message) {
      return { ...common, stream: true, message: mapped(message, encode) } as ChainResponse;
    }
    const one = encode(message);
    return { ...common, stream: req.stream, message: req.stream ? only(one) : one } as ChainResponse;
  };
}

function answer(spec: MethodImplSpec, { message }: ChainRequest, context: GrpcContext) {
  if (Symbol.asyncIterator in message) {
    if (spec.kind === 'server_streaming') return first(message).then((one) => spec.impl(one, context));
    if (spec.kind !== 'unary') return spec.impl(message, context);
  } else if (spec.kind === 'unary') return spec.impl(message, context);
  throw new Error(`the request of ${spec.method.name} is of another kind`);
}

function encodedAnswer(message: Message, desc: DescMessage, { sendBytes }: Limits): Message {
  const bytes = bytesOf(desc, message);
  if (bytes.length > sendBytes) throw new Error(`an answer of ${bytes.length} bytes: ${desc.typeName}`);
  return Object.assign(message, { [ENCODED]: bytes });
}

function readable({ method, values }: GrpcContext, bytes: Uint8Array): Message {
  try {
    return fromBinary(method.input, bytes);
  } catch (error) {
    if (!values.get(kRefusal)) values.set(kRefusal, malformed(error));
    return create(method.input);
  }
}

async function* read(messages: AsyncIterable<Uint8Array>, desc: DescMessage): AsyncGenerator<Message> {
  for await (const bytes of messages) {
    let message: Message;
    try {
      message = fromBinary(desc, bytes);
    } catch (error) {
      throw malformed(error);
    }
    yield message;
  }
}

async function* mapped<T, R>(items: AsyncIterable<T>, map: (item: T) => R): AsyncGenerator<R> {
  for await (const item of items) yield map(item);
}

async function first<T>(items: AsyncIterable<T>): Promise<T> {
  for await (const item of items) return item;
  throw malformed();
}
