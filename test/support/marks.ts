/** Words that occur nowhere else, each with the place that it was written to. */
export interface Marks {
  /** A new word of ten small letters. */
  at(place: string): string;
  /** The places of all words that are in `text`, in whatever letters; `encoded` where one lies hidden in base64 or hex. */
  in(text: string): string[];
  /** How many were made. */
  readonly made: number;
}

const STEM = 'zqxjkv';
const TAIL = 4;

/** Makes marks, and finds them again. */
export function createMarks(): Marks {
  const places: string[] = [];
  const hidden = [...base64Forms(), Buffer.from(STEM).toString('hex')];
  return {
    at(place) {
      places.push(place);
      return STEM + lettersOf(places.length - 1);
    },
    in(text) {
      const words = text.match(new RegExp(`${STEM}[a-z]{${TAIL}}`, 'gi')) ?? [];
      const found = words.map((word) => places[numberOf(word.toLowerCase().slice(STEM.length))] ?? `nowhere: ${word}`);
      if (found.length === 0 && text.toLowerCase().includes(STEM)) found.push('a piece of one');
      if (hidden.some((form) => text.includes(form))) found.push('encoded');
      return [...new Set(found)];
    },
    get made() {
      return places.length;
    },
  };
}

/** What the stem becomes in base64, behind 0, 1 or 2 bytes. */
function base64Forms(): string[] {
  return [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), Buffer.from(STEM)]).toString('base64');
    return text.slice(Math.ceil((before * 8) / 6), Math.floor(((before + STEM.length) * 8) / 6));
  });
}

function lettersOf(number: number): string {
  const digits = Array.from({ length: TAIL }, (_, i) => Math.floor(number / 26 ** i) % 26);
  return digits.map((digit) => String.fromCharCode(97 + digit)).join('');
}

function numberOf(letters: string): number {
  return [...letters].reduce((sum, letter, i) => sum + (letter.charCodeAt(0) - 97) * 26 ** i, 0);
}
