/** Converts between the contract's ranges, which count bytes of UTF-8, and JavaScript's strings, which count UTF-16 units. */

import { sha256 } from "@noble/hashes/sha2.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A text that can be sliced by byte ranges. */
export class ByteText {
  readonly #bytes: Uint8Array;

  constructor(text: string) {
    this.#bytes = encoder.encode(text);
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** The text of the bytes [start, end), clamped to the text. */
  slice(start: number, end: number): string {
    return decoder.decode(this.#bytes.subarray(clamp(start, this.length), clamp(end, this.length)));
  }

  /** The nearest character boundary at or before `offset`. */
  borderBefore(offset: number): number {
    let place = clamp(offset, this.length);
    while (place > 0 && place < this.length && (this.#bytes[place]! & 0xc0) === 0x80) place -= 1;
    return place;
  }
}

/** The positions in UTF-16 units of offsets in bytes of UTF-8. An offset within a character becomes the start of the character, and one beyond the text its end. */
export function unitsAt(text: string, offsets: readonly number[]): number[] {
  const order = offsets.map((_, index) => index).sort((a, b) => offsets[a]! - offsets[b]!);
  const found = offsets.map(() => text.length);
  let bytes = 0;
  let next = 0;
  for (let unit = 0; unit < text.length && next < order.length; ) {
    const code = text.codePointAt(unit)!;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    while (next < order.length && offsets[order[next]!]! < bytes) found[order[next++]!] = unit;
    unit += code < 0x10000 ? 1 : 2;
  }
  return found;
}

/** The length of a text in bytes of UTF-8. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/** Replaces each lone half of a surrogate pair with U+FFFD, because a lone half has no UTF-8 encoding. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

function clamp(value: number, most: number): number {
  return Math.min(Math.max(value, 0), most);
}

/** The SHA-256 of a text's UTF-8 bytes, in hexadecimal. Browsers offer their own SHA-256 only on pages that come over TLS or from this machine. */
export function sha256Hex(text: string): string {
  return hex(sha256(encoder.encode(text)));
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A random UUID (version 4, RFC 9562). Browsers offer `crypto.randomUUID` only on pages that come over TLS or from this machine, but they offer random bytes on all pages. */
export function uuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
