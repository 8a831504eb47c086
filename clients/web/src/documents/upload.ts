/** A file that the user uploads. */

import type { Packed } from "./archives.js";
import type { Failure } from "../server/errors.js";

/** The server's limit for the size of a file, in bytes. */
export const MOST_BYTES = 67_108_864;

export interface Upload {
  readonly file: File | Packed;
  /** The document's source key. */
  readonly path: string;
  /** `collections/{id}`. */
  readonly collection: string;
  /** The person whom the document is about; "" if it is for all readers of its collection. Only administrators give one. */
  readonly subject: string;
  /** The request_id, which is the same for every try, so that the server does not store a file twice. */
  readonly requestId: string;
}

export class UploadRefused extends Error {
  /** `ended`: the server's operation has ended, so a new try needs a new request_id. */
  constructor(
    readonly failure: Failure,
    readonly ended = false,
  ) {
    super(failure.message);
  }
}
