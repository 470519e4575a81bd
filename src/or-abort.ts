/** The result of `work`, or the reason of `signal` as soon as it aborts; `work` goes on then, and nobody hears how it ends. */
export function orAbort<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    const settled =
      <R>(settle: (result: R) => void) =>
      (result: R) => {
        signal.removeEventListener('abort', stop);
        settle(result);
      };
    work.then(settled(resolve), settled(reject));
  });
}
