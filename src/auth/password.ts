import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { Fault } from '../fault.ts';

/** What a comparison found. `stale`: the stored string was made with other parameters than today's; hash again. */
export interface PasswordVerdict {
  readonly ok: boolean;
  readonly stale: boolean;
}

/** How to wait where others are before. */
export interface Waiting {
  readonly signal?: AbortSignal | undefined;
  /** `first`: in a line of its own, which has three turns of four; for those who have been here before. */
  readonly line?: 'first' | 'other';
}

/**
 * Passwords to argon2id strings, off the event loop. Every method throws OVERLOADED with `retryAfterMs` when too many
 * wait already, and the signal's reason when it aborts before the hashing has begun.
 */
export interface PasswordHasher {
  /** `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<tag>`, never the same twice. */
  hash(password: string, signal?: AbortSignal): Promise<string>;
  /** Compares with what `hash` once gave, whatever its parameters. Throws an Error when `stored` isn't such a string. */
  verify(stored: string, password: string, waiting?: Waiting): Promise<PasswordVerdict>;
  /** Takes as long as `verify` and never agrees: for an e-mail address that nobody has. */
  verifyNothing(password: string, signal?: AbortSignal): Promise<PasswordVerdict>;
}

interface Parameters {
  readonly memory: number;
  readonly passes: number;
  readonly parallelism: number;
}

interface Stored extends Parameters {
  readonly salt: Buffer;
  readonly tag: Buffer;
}

const TODAY: Parameters = { memory: 19_456, passes: 2, parallelism: 1 };
const SALT_BYTES = 16;
const TAG_BYTES = 32;
const PHC =
  /^\$argon2id\$v=19\$m=([1-9]\d{0,5}),t=([1-9]\d?),p=([1-9]\d?)\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{16,86})$/;

const argon2Async = promisify(argon2);

/**
 * A hasher that works on at most `concurrency` passwords at once (by default a core each, at most 3: libuv has 4 threads
 * and files, names and signatures need one; those in the other line leave one core free, or a flood of them would take
 * all from those who book) while at most `queueLimit` wait in each line (by default 16 for each, a second or two).
 */
export function createPasswordHasher(options: { concurrency?: number; queueLimit?: number } = {}): PasswordHasher {
  const atOnce = options.concurrency ?? Math.min(availableParallelism(), 3);
  const strangers = options.concurrency ?? Math.max(1, atOnce - 1);
  const inTurn = createTurnstile({ atOnce, strangers, queueLimit: options.queueLimit ?? 16 * atOnce });
  const decoy = phc({ ...TODAY, salt: randomBytes(SALT_BYTES), tag: randomBytes(TAG_BYTES) });

  async function verify(stored: string, password: string, waiting: Waiting = {}): Promise<PasswordVerdict> {
    const expected = parsePhc(stored);
    const tag = await inTurn(() => derive(password, expected, expected.tag.length), waiting);
    return { ok: timingSafeEqual(tag, expected.tag), stale: isStale(expected) };
  }
  return {
    verify,
    async hash(password, signal) {
      const salted = { ...TODAY, salt: randomBytes(SALT_BYTES) };
      return phc({ ...salted, tag: await inTurn(() => derive(password, salted, TAG_BYTES), { signal }) });
    },
    async verifyNothing(password, signal) {
      await verify(decoy, password, { signal });
      return { ok: false, stale: false };
    },
  };
}

function derive(password: string, { salt, ...cost }: Omit<Stored, 'tag'>, tagLength: number): Promise<Buffer> {
  const { memory, passes, parallelism } = cost;
  const message = prepared(password);
  return argon2Async('argon2id', { message, nonce: salt, memory, passes, parallelism, tagLength });
}

/**
 * As RFC 8265 (OpaqueString) prepares a password, so that it is the same from every keyboard: any kind of space is the
 * plain one, then NFC. Not NFKC, which would also make characters one that people tell apart.
 */
function prepared(password: string): Buffer {
  return Buffer.from(password.replace(/\p{Zs}/gu, ' ').normalize('NFC'));
}

function phc({ memory, passes, parallelism, salt, tag }: Stored): string {
  return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${base64(salt)}$${base64(tag)}`;
}

function parsePhc(stored: string): Stored {
  const [, memory, passes, parallelism, salt, tag] = PHC.exec(stored) ?? [];
  if (!salt || !tag) throw new Error('the stored password hash is not an argon2id string');
  const cost = { memory: Number(memory), passes: Number(passes), parallelism: Number(parallelism) };
  return { ...cost, salt: Buffer.from(salt, 'base64'), tag: Buffer.from(tag, 'base64') };
}

function isStale({ salt, tag, ...cost }: Stored): boolean {
  return (
    salt.length !== SALT_BYTES ||
    tag.length !== TAG_BYTES ||
    cost.memory !== TODAY.memory ||
    cost.passes !== TODAY.passes ||
    cost.parallelism !== TODAY.parallelism
  );
}

function base64(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('=', '');
}

interface Turnstile {
  readonly atOnce: number;
  readonly strangers: number;
  readonly queueLimit: number;
}

type InTurn = <T>(work: () => Promise<T>, waiting: Waiting) => Promise<T>;

/** Of so many turns one is the other line's, if anybody waits there. */
const OTHERS_TURN = 4;

/** `atOnce` in all, of whom `strangers` may be of the other line; in each line at most `queueLimit`. */
function createTurnstile({ atOnce, strangers, queueLimit }: Turnstile): InTurn {
  const lines = { first: [] as (() => void)[], other: [] as (() => void)[] };
  const inside = { first: 0, other: 0 };
  let paceMs = 100;
  let turns = 0;

  function hasRoom(line: keyof typeof lines): boolean {
    return inside.first + inside.other < atOnce && (line === 'first' || inside.other < strangers);
  }
  function next(): keyof typeof lines | undefined {
    const order =
      turns % OTHERS_TURN === OTHERS_TURN - 1 ? (['other', 'first'] as const) : (['first', 'other'] as const);
    return order.find((line) => lines[line].length > 0 && hasRoom(line));
  }
  function admit(): void {
    for (let line = next(); line; line = next()) {
      turns += 1;
      inside[line] += 1;
      lines[line].shift()?.();
    }
  }
  function queue(waiting: (() => void)[], signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        waiting.splice(waiting.indexOf(enter), 1);
        reject(signal?.reason);
      };
      const enter = () => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      signal?.addEventListener('abort', leave, { once: true });
      waiting.push(enter);
    });
  }
  function overloaded(): Fault {
    const waiting = lines.first.length + lines.other.length;
    const retryAfterMs = Math.ceil((paceMs * (waiting + atOnce)) / atOnce);
    return new Fault('OVERLOADED', 'too many passwords are being checked', { retryAfterMs });
  }
  return async (work, { signal, line = 'other' }) => {
    signal?.throwIfAborted();
    if (hasRoom(line)) inside[line] += 1;
    else if (lines[line].length >= queueLimit) throw overloaded();
    else await queue(lines[line], signal);
    const startedAt = performance.now();
    try {
      signal?.throwIfAborted();
      const result = await work();
      paceMs += (performance.now() - startedAt - paceMs) / 8;
      return result;
    } finally {
      inside[line] -= 1;
      admit();
    }
  };
}
