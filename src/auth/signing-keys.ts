import type { KeyObject } from 'node:crypto';
import type { JWK } from 'jose';
import { parseKeys, readKeyFile, type SigningKey } from './key-file.ts';

export { createKeyFile } from './key-file.ts';

/** How long an access token lives, and so how long a key that no longer signs must still verify. Milliseconds. */
export const TOKEN_LIFE_MS = 600_000;
/** How far clocks may differ between the instance that signs and the one that verifies. Milliseconds. */
export const CLOCK_TOLERANCE_MS = 5_000;
/** How long others may keep the published key set before they ask again. Milliseconds. */
export const JWKS_CACHE_MS = 60_000;

/** The keys that sign and verify access tokens (ES256), as they stand at this moment. */
export interface SigningKeys {
  /** The key to sign with at `now`. */
  signer(now: Date): { readonly kid: string; readonly privateKey: KeyObject };
  /** The public key of that name, the same object each time; undefined when there is none or its time is over. */
  verificationKey(kid: string): KeyObject | undefined;
  /** The key set to publish, current first, with public members only. Others may keep it for JWKS_CACHE_MS. */
  jwks(): { readonly keys: JWK[] };
  /** Stops reading the file again. What was read stays. */
  close(): void;
}

export interface SigningKeysOptions {
  /** A JWK Set (RFC 7517) of private P-256 keys, each with its `kid`, the current one first. */
  readonly file: string;
  /** How often the file is read again. */
  readonly reloadMs?: number;
  readonly now?: () => Date;
  /** Told each time the file can't be used; the keys read before stay. */
  readonly onError: (error: Error) => void;
  /** Told, once for each mode, that others may read the file. */
  readonly onWarning?: (message: string) => void;
}

interface KnownKey extends SigningKey {
  /** Since when it can be seen by others; milliseconds since 1970, as the next one. */
  readonly publishedAt: number;
  /** When it was found to be gone from the file. */
  readonly removedAt?: number;
}

/**
 * Reads the keys, and reads them again every `reloadMs` (30 s) so that rotation needs no restart: put the new key in
 * front, take the old one out 15 minutes later. A key signs only when every instance has read it and every cache of the
 * published set has expired (`reloadMs` and JWKS_CACHE_MS after it appeared; at the start, after the file was last
 * changed) unless it is the only one. A key taken out stays, published too, until the last token it may have signed has
 * expired; a restart forgets it at once. Throws an Error naming JWT_KEYS_FILE and what is wrong, never quoting the file.
 */
export async function openSigningKeys(options: SigningKeysOptions): Promise<SigningKeys> {
  const { file, reloadMs = 30_000, now = () => new Date(), onError, onWarning } = options;
  const ring = createKeyRing(reloadMs, now);
  let mode = 0;
  let closed = false;

  async function read(publishedAt?: number): Promise<void> {
    const { text, ...stat } = await readKeyFile(file);
    const keys = parseKeys(text, file);
    refuseReusedNames(ring.known(), keys, file);
    if (closed) return;
    ring.replace(keys, Math.min(publishedAt ?? stat.changedAt, +now()));
    if (stat.mode !== mode) warnOfMode(file, stat.mode, onWarning);
    mode = stat.mode;
  }
  await read();
  const stop = every(reloadMs, () => read(+now()).catch(onError));
  return {
    signer: ring.signer,
    verificationKey: ring.verificationKey,
    jwks: () => ({ keys: ring.known().map((key) => ({ ...key.jwk })) }),
    close() {
      closed = true;
      stop();
    },
  };
}

interface KeyRing extends Pick<SigningKeys, 'signer' | 'verificationKey'> {
  /** All that may still verify. */
  known(): readonly KnownKey[];
  /** From now on these are the keys of the file; the new among them have been published since then. */
  replace(keys: readonly SigningKey[], publishedAt: number): void;
}

function createKeyRing(reloadMs: number, now: () => Date): KeyRing {
  let keys: readonly KnownKey[] = [];
  // Another instance may sign with a removed key until its own next reading.
  const keptMs = reloadMs + TOKEN_LIFE_MS + CLOCK_TOLERANCE_MS;
  const lives = ({ removedAt }: KnownKey) => removedAt === undefined || +now() < removedAt + keptMs;
  const known = () => keys.filter(lives);
  return {
    known,
    replace(inFile, publishedAt) {
      keys = merge(known(), inFile, { publishedAt, removedAt: +now() });
    },
    signer(at) {
      const inFile = keys.filter((key) => key.removedAt === undefined);
      return chooseSigner(inFile, +at - reloadMs - JWKS_CACHE_MS);
    },
    verificationKey(kid) {
      const key = keys.find((each) => each.kid === kid);
      return key && lives(key) ? key.publicKey : undefined;
    },
  };
}

/** The first key that has been published since `since`; when none has, the one that was published first. */
function chooseSigner(keys: readonly KnownKey[], since: number): KnownKey {
  const settled = keys.find((key) => key.publishedAt <= since);
  // Of equals the last: in a file read for the first time the older keys are behind.
  return settled ?? keys.reduce((oldest, key) => (key.publishedAt <= oldest.publishedAt ? key : oldest));
}

/** The keys of the file in its order, then those that it no longer has. Keys already known stay the same objects. */
function merge(
  known: readonly KnownKey[],
  inFile: readonly SigningKey[],
  { publishedAt, removedAt }: { publishedAt: number; removedAt: number },
): readonly KnownKey[] {
  const present = inFile.map((key): KnownKey => {
    const before = known.find(({ kid }) => kid === key.kid);
    return before ? { ...before, removedAt: undefined } : { ...key, publishedAt };
  });
  const gone = known.filter(({ kid }) => !inFile.some((key) => key.kid === kid));
  return [...present, ...gone.map((key) => ({ ...key, removedAt: key.removedAt ?? removedAt }))];
}

/** Tokens name their key, so a name means one key for as long as this process knows it. */
function refuseReusedNames(known: readonly KnownKey[], keys: readonly SigningKey[], file: string): void {
  for (const { kid, publicKey } of keys) {
    const before = known.find((key) => key.kid === kid);
    if (before && !before.publicKey.equals(publicKey)) {
      const name = JSON.stringify(kid);
      throw new Error(`JWT_KEYS_FILE: ${file}: ${name} was the name of another key; a new key needs a new kid`);
    }
  }
}

function warnOfMode(file: string, mode: number, onWarning?: (message: string) => void): void {
  if ((mode & 0o027) === 0) return;
  onWarning?.(`JWT_KEYS_FILE: ${file} has mode 0${mode.toString(8)}, others may read or change it; chmod 600 is right`);
}

/** Runs `work` every `ms`, one at a time, without keeping the process alive. Returns how to stop. */
function every(ms: number, work: () => Promise<void>): () => void {
  let running = false;
  const timer = setInterval(async () => {
    if (running) return;
    running = true;
    await work();
    running = false;
  }, ms);
  timer.unref();
  return () => clearInterval(timer);
}
