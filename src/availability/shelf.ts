import { createHash } from 'node:crypto';

/** Where instances leave texts for each other. It may lose them, and be away. */
export interface Shelf {
  /** What lies under `key`; undefined when there is nothing, or when it takes too long. Never rejects. */
  get(key: string): Promise<string | undefined>;
  /** Puts `text` there for `ms` milliseconds. Doesn't wait, and may fail. */
  put(key: string, text: string, ms: number): void;
}

const DIGEST_LENGTH = 43;

export function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

/** What is written about `key`, as a text that shows when it isn't whole, or is about another. */
export function sealed(key: string, written: object): string {
  const body = JSON.stringify(written);
  return digest(key + body) + body;
}

/** What `sealed` was given for `key`; undefined for any other text. */
export function unsealed<T extends object>(key: string, text: string): T | undefined {
  const body = text.slice(DIGEST_LENGTH);
  return digest(key + body) === text.slice(0, DIGEST_LENGTH) ? (JSON.parse(body) as T) : undefined;
}
