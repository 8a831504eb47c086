/** Ranges of the contract count bytes of UTF-8; strings of this language count UTF-16 units. Here the two meet. */

import { sha256 } from "@noble/hashes/sha2.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A text that can be cut by byte ranges. */
export class ByteText {
  readonly #bytes: Uint8Array;

  constructor(text: string) {
    this.#bytes = encoder.encode(text);
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** The text of the bytes [start, end); ends are kept within the text. */
  slice(start: number, end: number): string {
    return decoder.decode(this.#bytes.subarray(clamp(start, this.length), clamp(end, this.length)));
  }

  /** The nearest character border at or before `offset`. */
  borderBefore(offset: number): number {
    let place = clamp(offset, this.length);
    while (place > 0 && place < this.length && (this.#bytes[place]! & 0xc0) === 0x80) place -= 1;
    return place;
  }
}

/** How many bytes of UTF-8 a text has. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/** Halves of surrogate pairs are no characters and cannot travel as UTF-8; they become U+FFFD. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

function clamp(value: number, most: number): number {
  return Math.min(Math.max(value, 0), most);
}

/** SHA-256 of a text's UTF-8 bytes, in hexadecimal. Browsers keep their own back on pages that came neither by TLS nor from this machine. */
export function sha256Hex(text: string): string {
  return hex(sha256(encoder.encode(text)));
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A random UUID (version 4, RFC 9562). Browsers keep `crypto.randomUUID` back on pages that came neither by TLS nor from this machine, random bytes not. */
export function uuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
