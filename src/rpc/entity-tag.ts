import { createHash } from 'node:crypto';
import { createAsyncIterable, type UniversalServerResponse } from '@connectrpc/connect/protocol';

/** What is told of a body, and of none. */
const OF_THE_BODY = ['content-type', 'content-length', 'content-encoding'];

/**
 * Gives an answer the hash of its bytes, encoded as they are sent, as a strong entity tag; or answers 304 without them, if
 * `ifNoneMatch`, the header of that name, is `*` or names the tag, weakened or not (RFC 9110, 13.1.2).
 */
export async function tagged(
  response: UniversalServerResponse,
  ifNoneMatch: string | undefined,
): Promise<UniversalServerResponse> {
  const hash = createHash('sha256');
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body ?? []) {
    hash.update(chunk);
    chunks.push(chunk);
  }
  const tag = `"${hash.digest('base64url')}"`;
  const header = new Headers(response.header);
  header.set('etag', tag);
  if (!names(ifNoneMatch, tag)) return { ...response, header, body: createAsyncIterable(chunks) };
  for (const name of OF_THE_BODY) header.delete(name);
  return { status: 304, header };
}

/** Tags have no quotes inside: in a list, ours is found only as one of them. In garbage, by whoever has the answer already. */
function names(ifNoneMatch: string | undefined, tag: string): boolean {
  return ifNoneMatch !== undefined && (ifNoneMatch.trim() === '*' || ifNoneMatch.includes(tag));
}
