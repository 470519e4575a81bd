import type { Ending } from './ending.ts';
import type { HttpRequest } from './http-headers.ts';

/** Whether the answer to a request must ask its client to leave the connection; to be asked for every request. */
export type Leaves = (req: HttpRequest) => boolean;

/**
 * Over HTTP/1: once the listener is retired, on connections used before, so that a client can find another instance. One
 * who is led here again stays till the close: a connection made in the moment of the close would be reset. Then all leave.
 */
export function leaving({ retired, closing }: Ending): Leaves {
  const usedBefore = new WeakSet<object>();
  return ({ httpVersionMajor, socket }) => {
    if (httpVersionMajor !== 1) return false;
    if (!retired.aborted) usedBefore.add(socket);
    return closing.aborted || (retired.aborted && usedBefore.has(socket));
  };
}
