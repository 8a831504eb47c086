/** Uploads a file with XMLHttpRequest. Browsers cannot stream a request, and only XMLHttpRequest reports how much of a body was sent. */

import { createRegistry, fromJsonString } from "@bufbuild/protobuf";
import { OperationSchema, type Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "@responsa/contract/google/rpc/error_details_pb.js";
import { IngestMetadataSchema, IngestResultSchema } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import type { Packed } from "./archives.js";
import { USER } from "../server/api.js";
import { CUT, failureOfJson, type Failure } from "../server/errors.js";

/** The server's limit for the size of a file, in bytes. */
export const MOST_BYTES = 67_108_864;

const registry = createRegistry(IngestMetadataSchema, IngestResultSchema, ErrorInfoSchema, BadRequestSchema);

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

/** Milliseconds that a cancelled request may take to end after the whole file was sent. */
const LAST_WAIT = 30_000;

/**
 * Try once to send a file. `user`: the user for whom the page is drawn. `onShare` receives the share of the file that was sent, from 0 to 1. If the signal aborts when the whole file was sent, the request still goes on to its end: only
 * the response names the operation, which the caller must cancel. Raises UploadRefused (with the reason "" if the connection was lost), AbortError.
 */
export function send({ file, path, collection, subject, requestId }: Omit<Upload, "file"> & { readonly file: Blob }, user: string, onShare: (share: number) => void, signal: AbortSignal): Promise<Operation> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    const query = new URLSearchParams({ collection, source_key: path, request_id: requestId });
    if (file.type) query.set("media_type", file.type);
    if (subject) query.set("subject", subject);
    let isSent = false;
    request.upload.addEventListener("load", () => (isSent = true));
    const stop = () => (isSent ? void setTimeout(() => request.abort(), LAST_WAIT) : request.abort());
    signal.addEventListener("abort", stop, { once: true });
    request.open("PUT", `/v1/uploads?${query}`);
    request.setRequestHeader(USER, user);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable && event.total > 0) onShare(event.loaded / event.total);
    });
    request.addEventListener("error", () => reject(new UploadRefused(CUT)));
    request.addEventListener("abort", () => reject(new DOMException("The upload was cancelled.", "AbortError")));
    request.addEventListener("loadend", () => signal.removeEventListener("abort", stop));
    request.addEventListener("load", () => {
      if (request.status !== 200) return reject(new UploadRefused(failureOfJson(request.responseText)));
      try {
        resolve(fromJsonString(OperationSchema, request.responseText, { registry, ignoreUnknownFields: true }));
      } catch {
        reject(new UploadRefused(CUT)); // the connection was lost during the response
      }
    });
    request.send(file);
  });
}
