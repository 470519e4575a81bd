import { fieldInvalid } from '../fault.ts';

/**
 * The zone in the spelling of the IANA time zone database, `UTC` for an empty text. Letter case doesn't matter; an alias
 * stays the name that was given (Asia/Kolkata and Asia/Calcutta are both kept, though Intl calls both Asia/Calcutta).
 * Throws FIELD_INVALID (rule `time_zone`) for offsets, abbreviations and whatever PostgreSQL doesn't know.
 */
export function checkTimeZone(field: string, zone: string): string {
  if (zone === '') return 'UTC';
  const key = zone.toLowerCase();
  const found = spellings.get(key) ?? (isKnownToIntl(zone) ? spelled(key) : undefined);
  if (!found || ONLY_IN_ICU.test(found)) {
    throw fieldInvalid(field, 'is not an IANA time zone such as "Asia/Kolkata"', 'time_zone');
  }
  // Only names of zones get here, so it stays small.
  spellings.set(key, found);
  return found;
}

/** Names without a region. ICU has others too, such as IST, which PostgreSQL takes for Israel's. */
const WITHOUT_REGION = `CET CST6CDT Cuba EET EST EST5EDT Egypt Eire GB GB-Eire GMT GMT+0 GMT-0 GMT0 Greenwich HST
  Hongkong Iceland Iran Israel Jamaica Japan Kwajalein Libya MET MST MST7MDT NZ NZ-CHAT Navajo PRC PST8PDT Poland
  Portugal ROC ROK Singapore Turkey UCT UTC Universal W-SU WET Zulu`;

/** Aliases whose spelling no rule gives. */
const ODD_ALIASES = `America/Argentina/ComodRivadavia America/Knox_IN Australia/ACT Australia/LHI Australia/NSW
  Brazil/DeNoronha Chile/EasterIsland Mexico/BajaNorte Mexico/BajaSur Etc/UCT Etc/UTC`;

const ONLY_IN_ICU = /^(?:systemv\/.*|us\/pacific-new|canada\/east-saskatchewan|etc\/unknown)$/i;

const spellings = new Map(
  [...Intl.supportedValuesOf('timeZone'), ...WITHOUT_REGION.split(/\s+/), ...ODD_ALIASES.split(/\s+/)].map((name) => [
    name.toLowerCase(),
    name,
  ]),
);

function isKnownToIntl(zone: string): boolean {
  // Offsets begin with a sign and have no region; Intl takes them.
  if (!/^[a-z]+(?:\/[a-z0-9_+-]+)+$/i.test(zone)) return false;
  try {
    return Boolean(new Intl.DateTimeFormat('en', { timeZone: zone }));
  } catch {
    return false;
  }
}

/** Each word of a name in lower case with a capital; `Etc/GMT+5` and the two-letter `US` are capital throughout. */
function spelled(key: string): string {
  return key.replace(/^us(?=\/)|(?<=^etc\/)gmt|(?<![a-z])[a-z]/g, (letters) => letters.toUpperCase());
}
