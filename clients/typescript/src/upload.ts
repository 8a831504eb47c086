/** Uploads a document: in browsers as one PUT, because browsers cannot stream a request, and elsewhere as a gRPC stream. */

import { createRegistry, fromJsonString } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { OperationSchema, type Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "@responsa/contract/google/rpc/error_details_pb.js";
import { IngestMetadataSchema, IngestResultSchema, type DocumentMetadataSchema } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import type { KnowledgeService, UploadDocumentRequestSchema } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { uuid } from "./bytes.js";
import type { Connection } from "./connection.js";
import { cut, errorOfJson } from "./errors.js";
import type { Fields } from "./fields.js";
import { persist, type Patience } from "./patience.js";

/** The fields of a DocumentMetadata. `collection` and `sourceKey` are required. */
export type DocumentFields = Fields<typeof DocumentMetadataSchema>;

export interface UploadOptions {
  /** The same for each try, so that the server does not store a document twice. */
  readonly requestId?: string;
  /** Receives the share of the bytes that was sent, from 0 to 1, and the number of the try. */
  readonly onProgress?: (share: number, tries: number) => void;
  readonly signal?: AbortSignal;
}

interface Sending {
  readonly file: Blob;
  readonly fields: DocumentFields;
  readonly requestId: string;
  readonly onShare: (share: number) => void;
  readonly signal: AbortSignal;
}

/** How often a file is sent again at most. */
const REPEATS = 3;
const PIECE = 262_144; // bytes
/** Milliseconds that a cancelled request may take to end after the whole file was sent. */
const LAST_WAIT = 30_000;
const registry = createRegistry(IngestMetadataSchema, IngestResultSchema, ErrorInfoSchema, BadRequestSchema);

/**
 * Send a document, at most 64 MiB, again after a lost connection. Returns the operation that makes the document searchable. If the signal aborts when all bytes were sent,
 * a browser's request goes on to its end: only the response names the operation, which the caller must cancel. Raises ResponsaError, AbortError.
 */
export function upload(
  file: Blob,
  fields: DocumentFields,
  { requestId = uuid(), onProgress, signal = new AbortController().signal }: UploadOptions,
  connection: Connection,
  knowledge: Client<typeof KnowledgeService>,
  patience: Patience,
): Promise<Operation> {
  let tries = 0;
  const send = async () => {
    tries += 1;
    const onShare = (share: number) => onProgress?.(share, tries);
    onShare(0);
    const sending: Sending = { file, fields, requestId, onShare, signal };
    if (typeof XMLHttpRequest === "undefined") return knowledge.uploadDocument(pieces(sending), { signal });
    return put(sending, connection.url, await connection.headers());
  };
  return persist(send, signal, patience, REPEATS);
}

async function* pieces({ file, fields, requestId, onShare }: Sending): AsyncGenerator<Fields<typeof UploadDocumentRequestSchema>> {
  const sizeBytes = BigInt(file.size);
  yield { part: { case: "start", value: { metadata: fields, sizeBytes, requestId } } };
  for (let sent = 0; sent < file.size; sent += PIECE) {
    yield { part: { case: "chunk", value: new Uint8Array(await file.slice(sent, sent + PIECE).arrayBuffer()) } };
    onShare(Math.min(1, (sent + PIECE) / file.size));
  }
  yield { part: { case: "finish", value: { sizeBytes } } };
}

/** Only XMLHttpRequest reports how much of a body was sent. */
function put({ file, fields, requestId, onShare, signal }: Sending, origin: string, headers: Record<string, string>): Promise<Operation> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let isSent = false;
    request.upload.addEventListener("load", () => (isSent = true));
    const stop = () => (isSent ? void setTimeout(() => request.abort(), LAST_WAIT) : request.abort());
    signal.addEventListener("abort", stop, { once: true });
    request.open("PUT", `${origin}/v1/uploads?${queryOf(fields, requestId, file.type)}`);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable && event.total > 0) onShare(event.loaded / event.total);
    });
    request.addEventListener("error", () => reject(cut("the upload was interrupted")));
    request.addEventListener("abort", () => reject(new DOMException("The upload was cancelled.", "AbortError")));
    request.addEventListener("loadend", () => signal.removeEventListener("abort", stop));
    request.addEventListener("load", () => {
      if (request.status !== 200) return reject(errorOfJson(request.responseText, request.status));
      try {
        resolve(fromJsonString(OperationSchema, request.responseText, { registry, ignoreUnknownFields: true }));
      } catch {
        reject(cut("the response was incomplete"));
      }
    });
    request.send(file);
  });
}

function queryOf({ labels, metadata, sourceKey, mediaType, ...fields }: DocumentFields, requestId: string, type: string): URLSearchParams {
  const objects = { labels: labels && JSON.stringify(labels), metadata: metadata && JSON.stringify(metadata) };
  const all = { ...fields, ...objects, source_key: sourceKey, media_type: mediaType || type, request_id: requestId };
  return new URLSearchParams(Object.entries(all).filter((one): one is [string, string] => Boolean(one[1])));
}
