/** What one client may ask of a listener. Bytes and milliseconds. */
export interface Limits {
  /** Of one message, after decompression. */
  readonly receiveBytes: number;
  readonly sendBytes: number;
  /** Of all request headers together. */
  readonly headerBytes: number;
  /** At once on one HTTP/2 connection, and requests without an answer on one of HTTP/1. */
  readonly streams: number;
  /** At once of one client over all its connections, either HTTP version; trusted proxies are bounded by `streams` alone. */
  readonly streamsEach: number;
  /** Calls without an end (health watches, reflection) at once on one listener, those behind trusted proxies too. */
  readonly watches: number;
  /** Of one client among them. */
  readonly watchesEach: number;
  /** Connections of one listener, trusted proxies' aside. */
  readonly connections: number;
  /** Of one client among them. */
  readonly connectionsEach: number;
  /** Calls that one client may break off at once, and in each second, by resets or by hanging up. */
  readonly resetBurst: number;
  readonly resetRate: number;
  /** The same for each HTTP/2 connection of a trusted proxy. */
  readonly proxyResetBurst: number;
  readonly proxyResetRate: number;
  /** A connection on which nobody has said a word. */
  readonly silentMs: number;
  /** Of a unary call whose caller sets no deadline. */
  readonly defaultDeadlineMs: number;
  /** The most that a unary call gets, whatever its caller asks. */
  readonly longestDeadlineMs: number;
  /** From the first byte of a request to its last; streams of requests are exempt. */
  readonly bodyMs: number;
  /** Without a byte either way, while an answer waits to be read or a request to be sent; HTTP/1 with any open call. */
  readonly stillMs: number;
  /** Bytes of answers that wait to be read, over all connections of a listener. */
  readonly unreadBytes: number;
  /** A connection without a call. */
  readonly idleMs: number;
  /** After which an HTTP/2 connection is asked to go, so that a balancer can spread clients anew. */
  readonly ageMs: number;
}

/** What the contract promises. Idle HTTP connections outlive the 60 s after which balancers drop theirs. */
export const LIMITS: Limits = {
  receiveBytes: 64 * 1024,
  sendBytes: 1024 * 1024,
  headerBytes: 16 * 1024,
  streams: 100,
  streamsEach: 2_000,
  watches: 4_000,
  watchesEach: 64,
  connections: 5_000,
  connectionsEach: 1_000,
  resetBurst: 5_000,
  resetRate: 1_000,
  proxyResetBurst: 20_000,
  proxyResetRate: 5_000,
  silentMs: 10_000,
  defaultDeadlineMs: 5_000,
  longestDeadlineMs: 30_000,
  bodyMs: 15_000,
  stillMs: 45_000,
  unreadBytes: 64 * 1024 * 1024,
  idleMs: 75_000,
  ageMs: 1_800_000,
};
