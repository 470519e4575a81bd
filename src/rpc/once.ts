import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import type { Request, UnitsOfWork } from '../db/unit-of-work.ts';
import type { Work } from '../db/work.ts';
import { callOf } from './call.ts';

/** The response header of an answer that was given before. */
export const REPLAYED = 'idempotency-replayed';

/** Answers a call with a request_id: `work` makes the response once, and every repetition gets the same bytes. */
export async function answerOnce<D extends DescMessage>(
  units: UnitsOfWork,
  ctx: HandlerContext,
  { schema, ...request }: Request & { readonly schema: D },
  work: (work: Work) => Promise<MessageInitShape<D>>,
): Promise<MessageShape<D>> {
  let made: MessageShape<D> | undefined;
  const make = async (unit: Work) => {
    made = create(schema, await work(unit));
    return made;
  };
  const answer = await units.once(callOf(ctx), request, make, (message) => toBinary(schema, message));
  if (!answer.replayed && made) return made;
  ctx.responseHeader.set(REPLAYED, 'true');
  return fromBinary(schema, answer.bytes);
}
