/** Writes sizes, dates, numbers, amounts of money, and addresses of documents. Nothing here touches the page. */

import { locale } from "../language/language.js";

const UNITS = ["", "KiB", "MiB", "GiB"];

/** For example "512 bytes" or "1.4 MiB". */
export function sizeOf(bytes: bigint): string {
  let size = Number(bytes);
  let unit = 0;
  while (size >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  if (unit === 0) return size.toLocaleString(locale(), { style: "unit", unit: "byte", unitDisplay: "long" });
  const digits = size < 10 ? 1 : 0;
  return `${size.toLocaleString(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${UNITS[unit]}`;
}

/** For example "3 Feb 2026". */
export function dateOf(date: Date): string {
  return date.toLocaleDateString(locale(), { day: "numeric", month: "short", year: "numeric" });
}

/** For example "3 Feb 2026, 14:05". */
export function momentOf(date: Date): string {
  return `${dateOf(date)}, ${date.toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit" })}`;
}

/** The address at which the browser downloads the file of `documents/{uuid}` or of one of its versions. */
export function originalOf(name: string): string {
  return `/v1/${name}/original`;
}

/** For example "1 token" or "1,200 tokens". */
export function count(number: number | bigint, noun: string): string {
  return `${number.toLocaleString("en")} ${noun}${Number(number) === 1 ? "" : "s"}`;
}

const MICROS = 1_000_000;

/**
 * The text for an amount in millionths of a US dollar, e.g. 2100 → "0.0021 USD". It has two to four decimals, or up to six for an amount below 0.0001 USD.
 * `exact`: up to six decimals for every amount.
 */
export function money(micros: bigint, exact = false): string {
  const dollars = Number(micros) / MICROS;
  return `${dollars.toLocaleString(locale(), { minimumFractionDigits: 2, maximumFractionDigits: micros >= 100n && !exact ? 4 : 6 })} USD`;
}
