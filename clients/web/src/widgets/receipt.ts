/** Shows what the deletion of a user took. */

import type { DeletionReceipt } from "@responsa/contract/responsa/auth/v1/deletion_receipt_pb.js";
import { element } from "./dom.js";
import { t } from "../language/account/texts.js";

/** What a deletion counted, without what there was none of. `own`: whether the documents were the reader's own. */
export function receiptRows(receipt: DeletionReceipt, own: boolean): readonly string[] {
  const rows = [
    [receipt.conversations, "deletedConversations"],
    [receipt.turns, "deletedTurns"],
    [receipt.messages, "deletedMessages"],
    [receipt.documents, "deletedDocuments"],
    [receipt.collections, "deletedCollections"],
    [receipt.apiKeys, "deletedKeys"],
    [receipt.codes, "deletedCodes"],
    [receipt.invitations, "deletedInvitations"],
    [receipt.operations, "deletedOperations"],
    [receipt.sessions, "endedSessions"],
    [receipt.handedOverCollections, "handedOver"],
    [receipt.withdrawnAnswers, own ? "withdrawnOfYours" : "withdrawnOfUser"],
  ] as const;
  return rows.filter(([number]) => number > 0n).map(([number, key]) => t(key, { count: Number(number) }));
}

/** The list of these rows; undefined if there are no rows. */
export function receiptList(receipt: DeletionReceipt, own: boolean): HTMLElement | undefined {
  const rows = receiptRows(receipt, own);
  return rows.length > 0 ? element("ul", { class: "bullets", tabindex: "-1", "aria-label": t("whatWasDeleted") }, ...rows.map((one) => element("li", {}, one))) : undefined;
}
