/** Reads a document's canonical text, but only the parts that the page shows. */

import type { GetDocumentContentResponse } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { ByteText } from "@responsa/client/parts.js";

/** Streams the text from the character at `readOffset`. */
export type OpenContent = (readOffset: number, signal: AbortSignal) => AsyncIterable<GetDocumentContentResponse>;

interface Piece {
  /** The place of the first byte. */
  readonly start: number;
  readonly text: ByteText;
}

/** A text that can be sliced by byte ranges. Each read opens a stream and closes the stream when the requested bytes have arrived, so no stream stays open. */
export class CanonicalText {
  readonly #open: OpenContent;
  /** The pieces that were read, in the order of the text and without overlaps. */
  #pieces: readonly Piece[] = [];
  /** The length of the text; Infinity until it is known. */
  #length = Infinity;

  constructor(open: OpenContent) {
    this.#open = open;
  }

  /** Whether the text is known to end at or before this place. */
  endsBy(place: number): boolean {
    return this.#length <= place;
  }

  /** Read the bytes from `start` to `end`, both included, as far as the text has them and they were not read before. Raises the stream's errors. */
  async need(start: number, end: number, signal: AbortSignal): Promise<void> {
    for (let place = this.#missing(Math.max(start, 0)); place <= end && place < this.#length; place = this.#missing(place)) await this.#read(place, end, signal);
  }

  /** The first byte at or after `place` that was not read. */
  #missing(place: number): number {
    return this.#pieces.reduce((first, one) => (one.start <= first ? Math.max(first, endOf(one)) : first), place);
  }

  /** Read from `start`, which was not read, up to and including `end`, or up to a part that was read. */
  async #read(start: number, end: number, signal: AbortSignal): Promise<void> {
    const before = this.#pieces.filter((one) => one.start < start);
    const after = this.#pieces.slice(before.length);
    const [first, last] = [before.length > 0 ? endOf(before.at(-1)!) : 0, after[0]?.start ?? Infinity];
    const stream = new AbortController();
    const stop = () => stream.abort();
    signal.addEventListener("abort", stop, { once: true });
    let place = start;
    try {
      for await (const { byteOffset, text } of this.#open(start, stream.signal)) {
        const piece = cut({ start: Number(byteOffset), text: new ByteText(text) }, first, last);
        if (piece.text.length > 0) before.push(piece);
        this.#pieces = [...before, ...after];
        place = Math.max(place, endOf(piece));
        if (place > end || place >= last) return;
      }
      this.#length = place;
    } finally {
      signal.removeEventListener("abort", stop);
      stream.abort();
    }
  }

  /** The text of the bytes [start, end), as far as they were read. */
  slice(start: number, end: number): string {
    return this.#pieces
      .filter((one) => one.start < end && endOf(one) > start)
      .map((one) => one.text.slice(start - one.start, end - one.start))
      .join("");
  }

  /** The nearest character boundary at or before `offset`, within the bytes read. */
  borderBefore(offset: number): number {
    const piece = this.#pieces.findLast((one) => one.start <= offset);
    return piece ? piece.start + piece.text.borderBefore(offset - piece.start) : 0;
  }
}

function endOf({ start, text }: Piece): number {
  return start + text.length;
}

/** The part of a piece within the bytes [first, last), which are character boundaries. */
function cut(piece: Piece, first: number, last: number): Piece {
  if (piece.start >= first && endOf(piece) <= last) return piece;
  const start = Math.max(piece.start, first);
  return { start, text: new ByteText(piece.text.slice(start - piece.start, last - piece.start)) };
}
