/** Reads a document's canonical text, but only the part that the page shows. */

import type { GetDocumentContentResponse } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { ByteText } from "./bytes.js";

export type OpenContent = (signal: AbortSignal) => AsyncIterable<GetDocumentContentResponse>;

/** A text that can be sliced by byte ranges. Each read opens a stream and closes the stream when the requested bytes have arrived, so no stream stays open. */
export class CanonicalText {
  readonly #open: OpenContent;
  readonly #pieces: { readonly start: number; readonly text: ByteText }[] = [];
  #read = 0;
  #whole = false;

  constructor(open: OpenContent) {
    this.#open = open;
  }

  /** The number of bytes read, from the beginning. */
  get read(): number {
    return this.#read;
  }

  /** Whether the text ends at `read`. */
  get whole(): boolean {
    return this.#whole;
  }

  /** Read at least the first `end` bytes, or the whole text. Raises the stream's errors. */
  async need(end: number, signal: AbortSignal): Promise<void> {
    if (this.#whole || this.#read > end) return;
    const stream = new AbortController();
    const stop = () => stream.abort();
    signal.addEventListener("abort", stop, { once: true });
    try {
      for await (const { byteOffset, text } of this.#open(stream.signal)) {
        if (Number(byteOffset) !== this.#read) continue; // a previous read returned this piece
        const piece = new ByteText(text);
        this.#pieces.push({ start: this.#read, text: piece });
        this.#read += piece.length;
        if (this.#read > end) return;
      }
      this.#whole = true;
    } finally {
      signal.removeEventListener("abort", stop);
      stream.abort();
    }
  }

  /** The text of the bytes [start, end), as far as they were read. */
  slice(start: number, end: number): string {
    return this.#pieces
      .filter((one) => one.start < end && one.start + one.text.length > start)
      .map((one) => one.text.slice(start - one.start, end - one.start))
      .join("");
  }

  /** The nearest character boundary at or before `offset`, within the bytes read. */
  borderBefore(offset: number): number {
    const place = Math.min(Math.max(offset, 0), this.#read);
    const piece = this.#pieces.find((one) => one.start <= place && place < one.start + one.text.length);
    return piece ? piece.start + piece.text.borderBefore(place - piece.start) : place;
  }
}
