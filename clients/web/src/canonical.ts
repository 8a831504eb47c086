/** A document's canonical text, read no further than it is looked at. */

import type { GetDocumentContentResponse } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { ByteText } from "./bytes.js";

export type OpenContent = (signal: AbortSignal) => AsyncIterable<GetDocumentContentResponse>;

/** Text by byte ranges. Each read is a stream of its own that is ended once it brought what was asked for: none is left open meanwhile. */
export class CanonicalText {
  readonly #open: OpenContent;
  readonly #pieces: { readonly start: number; readonly text: ByteText }[] = [];
  #read = 0;
  #whole = false;

  constructor(open: OpenContent) {
    this.#open = open;
  }

  /** Bytes that are here, from the beginning on. */
  get read(): number {
    return this.#read;
  }

  /** Whether there is nothing behind `read`. */
  get whole(): boolean {
    return this.#whole;
  }

  /** Have at least the first `end` bytes here, or all there are. Raises what the stream raises. */
  async need(end: number, signal: AbortSignal): Promise<void> {
    if (this.#whole || this.#read > end) return;
    const stream = new AbortController();
    const stop = () => stream.abort();
    signal.addEventListener("abort", stop, { once: true });
    try {
      for await (const { byteOffset, text } of this.#open(stream.signal)) {
        if (Number(byteOffset) !== this.#read) continue; // here already, from the read before
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

  /** The text of the bytes [start, end), of what is here. */
  slice(start: number, end: number): string {
    return this.#pieces
      .filter((one) => one.start < end && one.start + one.text.length > start)
      .map((one) => one.text.slice(start - one.start, end - one.start))
      .join("");
  }

  /** The nearest character border at or before `offset`, of what is here. */
  borderBefore(offset: number): number {
    const place = Math.min(Math.max(offset, 0), this.#read);
    const piece = this.#pieces.find((one) => one.start <= place && place < one.start + one.text.length);
    return piece ? piece.start + piece.text.borderBefore(place - piece.start) : place;
  }
}
