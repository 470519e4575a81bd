/**
 * `body` as long as it comes in time: `ms` after the first byte is asked for it fails with what `late` answers. connect
 * itself waits for the last byte of a message for ever.
 */
export async function* withinTime(
  body: AsyncIterable<Uint8Array>,
  ms: number,
  late: () => Error,
): AsyncGenerator<Uint8Array> {
  const over = Promise.withResolvers<never>();
  over.promise.catch(() => {});
  const timer = setTimeout(() => over.reject(late()), ms).unref();
  const chunks = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { done, value } = await Promise.race([chunks.next(), over.promise]);
      if (done) return;
      yield value;
    }
  } finally {
    clearTimeout(timer);
    // Lets go of the body, so that what is left of it can be dropped. Not awaited: it waits for bytes that may never come.
    chunks.return?.(undefined).catch(() => {});
  }
}
