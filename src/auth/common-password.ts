import { fieldInvalid } from '../fault.ts';
import { COMMON_WORDS, LITTLE_WORDS, RUNS } from './common-words.ts';

/** Who chooses the password: the first things somebody else would try. */
export interface PasswordOwner {
  readonly email: string;
  readonly displayName: string;
}

/**
 * Throws FIELD_INVALID (rule `password.common`) when a password, however long, is one that many people choose or that
 * follows from who its owner is: common words, runs along the keyboard, counting, repetition, years, the owner's name or
 * address and ours, in any mixture, letter case, direction or leet spelling.
 *
 * It counts, in bits, how many choices the simplest way to build the password takes; each cost is our judgement. A
 * letter that belongs to nothing known costs 4, so that seven of them are enough and a phrase of uncommon words always is.
 */
export function refuseCommonPassword(field: string, password: string, owner: PasswordOwner): void {
  const text = folded(password);
  const own = byFirstLetter([...OUR_WORDS, ...ownWords(owner)].map((word) => [word, COST.own]));
  const joined = text.replace(/[^\p{L}\p{M}\p{N}]/gu, '');
  if (Math.min(bitsOf(text, own), bitsOf(joined, own) + COST.separators) >= ENOUGH_BITS) return;
  throw fieldInvalid(
    field,
    'is too easy to guess; a few words that have nothing in common are better',
    'password.common',
  );
}

const ENOUGH_BITS = 30;
const COST = {
  own: 3,
  littleWord: 4,
  commonWord: 8,
  shortRun: 7,
  run: 5,
  repetition: 3,
  year: 6,
  date: 13,
  separators: 3,
  digit: 3.3,
  letter: 4,
  mark: 3,
  other: 6,
} as const;

const OUR_WORDS = ['amrutam', 'amrut', 'telemedicine'];

/** What each character may stand for besides itself. */
const LEET: Readonly<Record<string, string>> = {
  '@': 'a',
  '4': 'a',
  '8': 'b',
  '(': 'c',
  '3': 'e',
  '€': 'e',
  '6': 'g',
  '9': 'g',
  '1': 'il',
  '!': 'il',
  '|': 'il',
  '0': 'o',
  '5': 's',
  $: 's',
  '7': 't',
  '+': 't',
  '2': 'z',
};

const MARKS = ' !"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~';
const YEAR = /(?:19[3-9]|20[0-4])\d/y;
const DAY_AND_MONTH = '(?:0[1-9]|[12]\\d|3[01])[-./ ]?(?:0[1-9]|[12]\\d|3[01])';
const DATE = new RegExp(`${DAY_AND_MONTH}[-./ ]?(?:19|20)\\d\\d|(?:19|20)\\d\\d[-./ ]?${DAY_AND_MONTH}`, 'y');

const SHORTEST_RUN = 3;
const ALL_RUNS = [...RUNS, ...RUNS.map(reversed)].join('\n');

type Words = ReadonlyMap<string, readonly Word[]>;
type Word = readonly [spelling: string, bits: number];

/** Words with what they cost, by their first letter. */
const KNOWN = byFirstLetter([
  ...[...COMMON_WORDS, ...COMMON_WORDS.map(reversed)].map((word): Word => [word, COST.commonWord]),
  ...LITTLE_WORDS.map((word): Word => [word, COST.littleWord]),
]);

/** The least it takes to build `text` from left to right out of known pieces and single characters. */
function bitsOf(text: string, own: Words): number {
  const least = new Array<number>(text.length + 1).fill(Number.POSITIVE_INFINITY);
  least[0] = 0;
  for (let at = 0; at < text.length; at += 1) {
    for (const [length, bits] of piecesAt(text, at, own)) {
      least[at + length] = Math.min(least[at + length] ?? 0, (least[at] ?? 0) + bits);
    }
  }
  return least[text.length] ?? 0;
}

type Piece = readonly [length: number, bits: number];

function piecesAt(text: string, at: number, own: Words): readonly Piece[] {
  const pieces: Piece[] = [[1, bitsOfOne(text.charAt(at))]];
  for (const first of meaningsOf(text.charAt(at))) {
    for (const [word, bits] of [...(KNOWN.get(first) ?? []), ...(own.get(first) ?? [])]) {
      if (spells(text, at, word)) pieces.push([word.length, bits]);
    }
  }
  const repeats = (part: string) => text.indexOf(part) < at;
  for (const length of growing(text, at, (part) => ALL_RUNS.includes(part))) {
    pieces.push([length, length === SHORTEST_RUN ? COST.shortRun : COST.run]);
  }
  for (const length of growing(text, at, repeats)) pieces.push([length, COST.repetition]);
  for (const [pattern, bits] of [[YEAR, COST.year] as const, [DATE, COST.date] as const]) {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) pieces.push([found[0].length, bits]);
  }
  return pieces;
}

/** The lengths, from three up, for which the part of `text` that begins at `at` still holds. */
function growing(text: string, at: number, holds: (part: string) => boolean): readonly number[] {
  const lengths: number[] = [];
  for (let length = SHORTEST_RUN; at + length <= text.length; length += 1) {
    if (!holds(text.slice(at, at + length))) break;
    lengths.push(length);
  }
  return lengths;
}

/** Whether `word` stands at `at`, at least one of its characters as itself: a row of digits spells nothing. */
function spells(text: string, at: number, word: string): boolean {
  let plain = false;
  for (let i = 0; i < word.length; i += 1) {
    const [typed, meant] = [text.charAt(at + i), word.charAt(i)];
    if (!typed || !meaningsOf(typed).includes(meant)) return false;
    plain ||= typed === meant;
  }
  return plain;
}

/** The character and what it stands for in leet spelling, as one string. */
function meaningsOf(character: string): string {
  return character + (LEET[character] ?? '');
}

function byFirstLetter(words: readonly Word[]): Words {
  return Map.groupBy(words, ([spelling]) => spelling.charAt(0));
}

function bitsOfOne(character: string): number {
  if (character >= '0' && character <= '9') return COST.digit;
  if (character >= 'a' && character <= 'z') return COST.letter;
  return MARKS.includes(character) ? COST.mark : COST.other;
}

/** The parts of the owner's name and address, of three characters or more, in both directions. */
function ownWords({ email, displayName }: PasswordOwner): readonly string[] {
  const parts = folded(`${email} ${displayName}`).split(/[^\p{L}\p{M}\p{N}]+|(?<=\D)(?=\d)|(?<=\d)(?=\D)/u);
  const words = [...new Set(parts)].filter((part) => part.length >= 3);
  return [...words, ...words.map(reversed)];
}

/** Lower case, without accents, full-width and other variants as the plain character. */
function folded(text: string): string {
  return text
    .toLowerCase()
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '');
}

function reversed(text: string): string {
  return [...text].reverse().join('');
}
