/** Ranges of the contract count bytes of UTF-8; strings of this language count UTF-16 units. Here the two meet. */

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8");

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

function clamp(value: number, most: number): number {
  return Math.min(Math.max(value, 0), most);
}

export async function sha256Hex(text: string): Promise<string> {
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text))));
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
