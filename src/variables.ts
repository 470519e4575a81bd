import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

/** A variable that is missing or wrong; the message says which, why, and what would be right. */
export class ConfigError extends Error {}

export type Environment = Readonly<Record<string, string | undefined>>;

/** What a value means; throws ConfigError when it means nothing. */
export type Reader<T> = (value: string, name: string) => T;

/** The variable as `read` understands it; undefined when it is absent or empty. */
export function optional<T>(env: Environment, name: string, read: Reader<T>): T | undefined {
  const value = env[name]?.trim();
  return value ? read(value, name) : undefined;
}

/** The same, or what the file holds that `NAME_FILE` names: so that no list of the environment shows a password. */
export function secret<T>(env: Environment, name: string, read: Reader<T>): T | undefined {
  const named = `${name}_FILE`;
  const file = optional(env, named, path);
  if (!file) return optional(env, name, oneWord(read));
  if (optional(env, name, String)) throw new ConfigError(`${name} and ${named} are both set: leave one of them out`);
  const value = contentOf(file, named).trim();
  if (!value) throw new ConfigError(`${named}: ${file} is empty: it must hold what ${name} would`);
  return oneWord(read)(value, named);
}

/** Two lines would be read as one: what understands URLs leaves line ends out. */
function oneWord<T>(read: Reader<T>): Reader<T> {
  return (value, name) => {
    // The value may hold a password and is not shown.
    if (/\s/.test(value))
      throw new ConfigError(
        `${name} has white space inside: it must be one URL and nothing else, a space written as %20`,
      );
    return read(value, name);
  };
}

function contentOf(file: string, name: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(`${name}: ${file} can't be read: ${(error as Error).message}`);
  }
}

/** The error of a variable whose value is none of those `wanted`. */
export function wrong(name: string, value: string, wanted: string): ConfigError {
  return new ConfigError(`${name} is ${JSON.stringify(value)}: it must be ${wanted}`);
}

export function whole(from: number, to: number): Reader<number> {
  return (value, name) => {
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < from || number > to)
      throw wrong(name, value, `a whole number from ${from} to ${to}`);
    return number;
  };
}

/** An absolute path. */
export const path: Reader<string> = (value) => resolve(value);

export function oneOf<T extends string>(values: readonly T[]): Reader<T> {
  return (value, name) => {
    if (!values.includes(value as T)) throw wrong(name, value, `one of ${values.join(', ')}`);
    return value as T;
  };
}

export function list<T>(read: Reader<T>): Reader<readonly T[]> {
  return (value, name) => value.split(',').map((item) => read(item.trim(), name));
}
