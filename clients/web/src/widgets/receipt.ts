/** Shows what the deletion of a user took. */

import type { DeletionReceipt } from "@responsa/contract/responsa/auth/v1/deletion_receipt_pb.js";
import { element } from "./dom.js";
import { count } from "../text/facts.js";

/** What a deletion counted, without what there was none of. `whose`: whose documents they were, as in "your documents". */
export function receiptRows(receipt: DeletionReceipt, whose: string): readonly string[] {
  const rows: readonly (readonly [bigint, string])[] = [
    [receipt.conversations, "conversation"],
    [receipt.turns, "turn"],
    [receipt.messages, "message"],
    [receipt.documents, "document"],
    [receipt.collections, "collection"],
    [receipt.apiKeys, "API key"],
    [receipt.codes, "code"],
    [receipt.invitations, "open invitation"],
    [receipt.operations, "operation"],
  ];
  const deleted = rows.filter(([number]) => number > 0n).map(([number, noun]) => `${count(number, noun)} deleted`);
  const ended = receipt.sessions > 0n ? [`${count(receipt.sessions, "session")} ended`] : [];
  const handed = receipt.handedOverCollections > 0n ? [`${count(receipt.handedOverCollections, "collection")} handed over`] : [];
  const withdrawn = receipt.withdrawnAnswers > 0n ? [`${count(receipt.withdrawnAnswers, "answer")} of other people withdrawn, because they quoted ${whose} documents`] : [];
  return [...deleted, ...ended, ...handed, ...withdrawn];
}

/** The list of these rows; undefined if there are no rows. */
export function receiptList(receipt: DeletionReceipt, whose: string): HTMLElement | undefined {
  const rows = receiptRows(receipt, whose);
  return rows.length > 0 ? element("ul", { class: "bullets", tabindex: "-1", "aria-label": "What was deleted" }, ...rows.map((one) => element("li", {}, one))) : undefined;
}
