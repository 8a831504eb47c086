/** Amounts of limits, as people read and write them: numbers, money and sizes. Nothing here touches the page. */

import { locale } from "../language/language.js";

/** A kind of amount. The server counts in whole units: tokens, millionths of a US dollar, bytes. */
export interface Unit {
  /** The text for an amount, such as "1,000", "2.50 USD" or "500 MiB". */
  readonly text: (amount: bigint) => string;
  /** The amount that a person wrote; undefined if the text is not one. */
  readonly parse: (text: string) => bigint | undefined;
  /** An example for people who write an amount. */
  readonly example: string;
}

/** The largest amount that the server accepts as a limit. */
const MOST = 1_000_000_000_000n;
const MICROS = 1_000_000n;
/** The locale's separators: "," between thousands and "." before decimals in English. */
const [GROUP = "", POINT = ""] = ["group", "decimal"].map((type) => new Intl.NumberFormat(locale()).formatToParts(12_345.6).find((part) => part.type === type)?.value);
const SIZES: readonly (readonly [unit: string, bytes: bigint])[] = [
  ["GiB", 1n << 30n],
  ["MiB", 1n << 20n],
  ["KiB", 1n << 10n],
  ["bytes", 1n],
];
const FACTORS: Readonly<Record<string, bigint>> = {
  "": 1n,
  byte: 1n,
  bytes: 1n,
  kb: 1_000n,
  mb: 1_000_000n,
  gb: 1_000_000_000n,
  kib: 1n << 10n,
  mib: 1n << 20n,
  gib: 1n << 30n,
};

export const NUMBER: Unit = {
  text: (amount) => amount.toLocaleString(locale()),
  parse: (text) => decimal(text, 1n),
  example: (1_000).toLocaleString(locale()),
};

/** US dollars. The server counts millionths. */
export const MONEY: Unit = {
  text: (amount) => `${(Number(amount) / Number(MICROS)).toLocaleString(locale(), { minimumFractionDigits: 2, maximumFractionDigits: 6 })} USD`,
  parse: (text) => decimal(text.trim().replace(/^\$|\s*USD$/g, ""), MICROS),
  example: (2.5).toLocaleString(locale(), { minimumFractionDigits: 2 }),
};

/** Sizes. The text is exact, so that a size that nobody has changed stays the same. */
export const BYTES: Unit = {
  text(amount) {
    const [unit, bytes] = SIZES.find(([, one]) => amount >= one && amount % one === 0n) ?? SIZES.at(-1)!;
    return `${(amount / bytes).toLocaleString(locale())} ${unit}`;
  },
  parse(text) {
    const found = /^(.*?)\s*([a-z]*)$/i.exec(text.trim());
    const factor = FACTORS[found?.[2]?.toLowerCase() ?? ""];
    return found && factor !== undefined ? decimal(found[1]!, factor) : undefined;
  },
  example: "500 MiB",
};

/** A number with the locale’s separators, times a factor, if the result is whole and not too large. */
function decimal(text: string, factor: bigint): bigint | undefined {
  const found = new RegExp(`^(\\d+|\\d{1,3}(?:[${GROUP}]\\d{3})+)(?:[${POINT}](\\d{1,9}))?$`).exec(text.trim());
  if (!found) return undefined;
  const part = found[2] ?? "";
  const scale = 10n ** BigInt(part.length);
  const product = BigInt(found[1]!.replaceAll(GROUP, "") + part) * factor;
  return product % scale === 0n && product / scale <= MOST ? product / scale : undefined;
}

/** A limit for one user: the value of the user's role, no limit, or an amount. */
export type Rule = { readonly kind: "role" } | { readonly kind: "unlimited" } | { readonly kind: "most"; readonly amount: bigint };

export const ROLE = { kind: "role" } as const satisfies Rule;

export function sameRule(one: Rule, other: Rule): boolean {
  return one.kind === other.kind && (one.kind !== "most" || one.amount === (other as typeof one).amount);
}
