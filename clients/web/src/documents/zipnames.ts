/** Reads the names of files in a ZIP archive that does not say how it encodes them: they are in the code page of the system that has written it. */

interface Name {
  readonly raw: Uint8Array;
  /** The name as Western systems encode it. */
  readonly text: string;
  /** Whether the archive says that the name is in UTF-8. */
  readonly isUnicode: boolean;
}

type Range = readonly [first: number, last: number];

/** A code page, with the bytes that begin its common characters, and the number of those that can follow each of them; 1 for a code page without pairs. */
interface CodePage {
  readonly label: string;
  /** The languages that use it. */
  readonly languages: RegExp;
  readonly common: readonly (readonly [Range, characters: number])[];
}

const PAIRS = 188;
const PAGES: readonly CodePage[] = [
  { label: "", languages: /^(?:en|de|fr|es|it|nl|pt|sv|da|nb|nn|no|fi)/, common: [[[0x80, 0xa5], 38], [[0xe1, 0xe1], 38]] },
  { label: "shift_jis", languages: /^ja/, common: [[[0x82, 0x83], 2 * 83], [[0x88, 0x98], 17 * PAIRS]] },
  { label: "gb18030", languages: /^zh(?!.*(?:Hant|TW|HK|MO))/i, common: [[[0xb0, 0xd7], 40 * 94]] },
  { label: "big5", languages: /^zh.*(?:Hant|TW|HK|MO)/i, common: [[[0xa4, 0xc6], 35 * 157]] },
  { label: "euc-kr", languages: /^ko/, common: [[[0xb0, 0xc8], 25 * 94]] },
  { label: "ibm866", languages: /^(?:ru|uk|be|bg)/, common: [[[0x80, 0xaf], 48], [[0xe0, 0xf1], 18]] },
];
/** What a character costs that is not common, what a letter of ASCII does, what speaks for the languages of the browser, and against what is unusual, in natural units of information. */
const RARE = 11;
const ASCII = 4;
const OWN = 3;
const UNUSUAL = 2;

/** The names, of which all without a mark are in one code page: the likeliest one, first those of the browser's languages. */
export function readNames(names: readonly Name[], languages: readonly string[]): string[] {
  const unmarked = names.filter(({ isUnicode, raw }) => !isUnicode && raw.some((byte) => byte >= 0x80));
  const costs = PAGES.map((page) => ({ page, cost: unmarked.reduce((sum, { raw }) => sum + costOf(raw, page), languages.some((one) => page.languages.test(one)) ? -OWN : 0) }));
  const best = unmarked.length > 0 ? costs.reduce((least, one) => (one.cost < least.cost ? one : least)).page.label : "";
  const decoder = best ? new TextDecoder(best) : undefined;
  return names.map((name) => (decoder && unmarked.includes(name) ? decoder.decode(name.raw) : name.text));
}

/** How unlikely a name is in a code page; infinite if it has no such character. */
function costOf(raw: Uint8Array, { label, common }: CodePage): number {
  const hasPairs = label !== "" && label !== "ibm866";
  if (hasPairs && !isDecodable(raw, label)) return Infinity;
  let cost = 0;
  let high = false;
  for (let at = 0; at < raw.length; at += 1) {
    const byte = raw[at]!;
    if (byte < 0x80) {
      // After an accent, Western words go on in small letters, or end.
      cost += ASCII + (label === "" && high && !/[a-z ._/-]/.test(String.fromCharCode(byte)) ? UNUSUAL : 0);
      high = false;
      continue;
    }
    const [, characters = 0] = common.find(([[first, last]]) => byte >= first && byte <= last) ?? [];
    cost += characters ? Math.log(characters) : RARE;
    // Western words have few letters with accents next to each other, and other words hardly any of ASCII.
    if (!hasPairs) cost += high === (label === "") ? UNUSUAL : 0;
    high = true;
    if (hasPairs && !(label === "shift_jis" && byte >= 0xa1 && byte <= 0xdf)) at += 1;
  }
  return cost;
}

function isDecodable(raw: Uint8Array, label: string): boolean {
  try {
    return new TextDecoder(label, { fatal: true }).decode(raw) !== "";
  } catch {
    return false;
  }
}
