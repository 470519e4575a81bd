import { ODD_JSON, ODD_TEXTS } from './odd-values.ts';
import type { Random } from './random.ts';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
/** Puts something in the place of one value. */
type Replace = (value: Json) => void;

/** The text of `value` with one to three of its parts replaced by odd ones; some are no JSON. */
export function mutateJson(value: Json, random: Random): string {
  const root = { value: structuredClone(value) };
  const raw: string[] = [];
  for (let i = random.below(3); i >= 0; i--) {
    const places = placesOf(root);
    const [replace, holder] = random.pick(places);
    if (holder && random.chance(0.25)) addKey(holder, random, raw);
    else if (random.chance(0.3)) replace(random.pick(ODD_TEXTS));
    else replace(marked(random.pick(ODD_JSON), raw));
  }
  // Marks become what they stand for: text that JSON.stringify would never write.
  return (JSON.stringify(root.value) ?? 'null').replace(/"\uE000(\d+)\uE000"/g, (_, i: string) => raw[Number(i)] ?? '');
}

function marked(text: string, raw: string[]): string {
  raw.push(text);
  return `\u{E000}${raw.length - 1}\u{E000}`;
}

function addKey(holder: Record<string, Json>, random: Random, raw: string[]): void {
  const names = ['__proto__', 'constructor', 'unknown', 'x'.repeat(5_000), '', 'requestId', 'request_id', 'pageSize'];
  const name = random.pick([...names, ...Object.keys(holder)]);
  const value = marked(random.pick(ODD_JSON), raw);
  // A second time under the same name, which an object can't hold.
  if (name in holder) holder[`${name}`] = marked(`null,${JSON.stringify(name)}:${random.pick(ODD_JSON)}`, raw);
  else Object.defineProperty(holder, name, { value, enumerable: true, configurable: true, writable: true });
}

function placesOf(holder: object): [Replace, Record<string, Json> | undefined][] {
  return Object.entries(holder).flatMap(([key, value]: [string, Json]) => {
    const replace: Replace = (other) => Reflect.set(holder, key, other);
    const inner = typeof value === 'object' && value !== null ? placesOf(value) : [];
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return [[replace, isObject ? value : undefined] as [Replace, Record<string, Json> | undefined], ...inner];
  });
}
