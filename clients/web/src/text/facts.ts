/** Writes sizes, dates, times, amounts of money, and addresses of documents. Nothing here touches the page. */

import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
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

/** The same for a time of the server; "" without one. */
export function moment(time: Timestamp | undefined): string {
  return time ? momentOf(timestampDate(time)) : "";
}

/** A time in milliseconds, e.g. "140 ms", "2.4 s" or "1 min 5 s". */
export function lapse(ms: number): string {
  if (ms < 950) return `${Math.round(Math.max(ms, 0))} ms`;
  const digits = ms < 9950 ? 1 : 0;
  if (ms < 60_000) return `${(ms / 1000).toLocaleString(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits })} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** The address at which the browser downloads the file of `documents/{uuid}` or of one of its versions. */
export function originalOf(name: string): string {
  return `/v1/${name}/original`;
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
