/** Uploads one file and waits until search finds it. */

import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import { IngestMetadataSchema, IngestResultSchema, IngestStage, LeftOutKind, type IngestResult } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import type { Api } from "../server/api.js";
import { CUT, failureOf, failureOfStatus, type Failure } from "../server/errors.js";
import { timeLeft } from "./estimate.js";
import { ended } from "@responsa/client/parts.js";
import { UploadRefused, type Upload } from "./upload.js";
import { t } from "../language/documents/texts.js";

const SENT = 1 / 3; // the share of the progress for sending; the rest is for reading and indexing
const CANCEL_TIMEOUT = 10_000; // milliseconds
const LOST: Failure = { ...CUT, reason: "FILE_CHANGED", message: t("fileLost") };
const DAMAGED: Failure = { ...CUT, reason: "FILE_CHANGED", message: t("fileDamaged") };

const KINDS = {
  [LeftOutKind.UNSPECIFIED]: "parts",
  [LeftOutKind.COMMENT]: "comments",
  [LeftOutKind.HIDDEN_SHEET]: "hiddenSheets",
  [LeftOutKind.HIDDEN_SLIDE]: "hiddenSlides",
  [LeftOutKind.PICTURE]: "pictures",
  [LeftOutKind.CHART]: "charts",
  [LeftOutKind.EMBEDDED_FILE]: "embeddedFiles",
  [LeftOutKind.SCANNED_PAGE]: "scannedPages",
  [LeftOutKind.FORMULA]: "formulas",
  [LeftOutKind.UNPAIRED_QUOTE]: "unpairedQuotes",
  [LeftOutKind.HIDDEN_TEXT]: "hiddenTexts",
  [LeftOutKind.NAVIGATION]: "navigation",
  [LeftOutKind.UNCERTAIN_TABLE]: "uncertainTables",
  [LeftOutKind.FOREIGN_LINE]: "foreignLines",
  [LeftOutKind.NUMBER_FORMAT]: "numberFormats",
} as const satisfies Record<LeftOutKind, string>;

/** Receives the share of the work that is done, from 0 to 1, and a word about the current step. */
export type Tell = (share: number, state: string) => void;

/** How an upload ended. */
export interface Uploaded {
  /** Whether the document was already stored. */
  readonly unchanged: boolean;
  /** Whether the file is a new version of a document. */
  readonly replaced: boolean;
  /** See `remarkOf`. */
  readonly remark: string;
}

/** What the text of the document lacks or may have wrong, such as "left out: 2 comments, 1 picture"; "" if there is nothing to say. */
export function remarkOf({ leftOut, guessedCharset }: IngestResult): string {
  const parts = leftOut.map(({ kind, count }) => t(KINDS[kind] ?? "parts", { count }));
  return [
    ...(parts.length > 0 ? [t("leftOut", { parts: parts.join(", ") })] : []),
    ...(guessedCharset ? [t("guessed", { charset: guessedCharset })] : []),
  ].join("; ");
}

/** Raises UploadRefused. If the signal aborts, this cancels the server's work, and then raises an error. */
export async function uploaded(api: Api, upload: Upload, tell: Tell, signal: AbortSignal): Promise<Uploaded> {
  let name = "";
  try {
    const sent = await sentWhole(api, upload, tell, signal);
    name = sent.name;
    const { result } = await ended(api, sent, (operation) => report(operation, tell), signal);
    if (result.case === "error") throw new UploadRefused(failureOfStatus(result.value), true);
    const taken = result.case === "response" ? anyUnpack(result.value, IngestResultSchema) : undefined;
    return { unchanged: taken?.unchanged ?? false, replaced: (taken?.document?.version ?? 0) > 1, remark: taken ? remarkOf(taken) : "" };
  } catch (error) {
    // If this fails, the server's work has ended meanwhile.
    if (signal.aborted && name) await api.operations.cancelOperation({ name }, { timeoutMs: CANCEL_TIMEOUT }).catch(() => undefined);
    throw error instanceof UploadRefused || signal.aborted ? error : new UploadRefused(failureOf(error));
  }
}

async function sentWhole(api: Api, upload: Upload, tell: Tell, signal: AbortSignal): Promise<Operation> {
  const file = await contentOf(upload);
  const { collection, path: sourceKey, subject, requestId } = upload;
  const onProgress = (share: number, tries: number) => tell(share * SENT, t(share === 1 ? "sent" : share === 0 && tries > 1 ? "sendingAgain" : "sending"));
  try {
    return await api.upload(file, { collection, sourceKey, subject }, { requestId, onProgress, signal });
  } catch (error) {
    // The browser reports a file that it can no longer read as a lost connection.
    if (!signal.aborted && !(await isReadable(file))) throw new UploadRefused(LOST);
    throw error;
  }
}

async function contentOf({ file }: Upload): Promise<Blob> {
  if (!("unpack" in file)) return file;
  return file.unpack().catch(() => {
    throw new UploadRefused(DAMAGED);
  });
}

function isReadable(file: Blob): Promise<boolean> {
  return file.slice(0, 1).arrayBuffer().then(() => true, () => false);
}

function report(operation: Operation, tell: Tell): void {
  const progress = operation.metadata ? anyUnpack(operation.metadata, IngestMetadataSchema) : undefined;
  if (progress?.stage === IngestStage.EMBEDDING && progress.passagesTotal > 0) {
    const share = progress.passagesDone / progress.passagesTotal;
    const left = progress.timeLeft ? `, ${timeLeft(Number(progress.timeLeft.seconds) * 1_000)}` : "";
    tell(SENT + (1 - SENT) * share, t("passagesDone", { done: progress.passagesDone, total: progress.passagesTotal }) + left);
  } else {
    tell(SENT, t(progress?.stage === IngestStage.PARSING ? "stateRead" : "waitsTurn"));
  }
}
