/** Asks administrators how to delete a user, and shows what was deleted. */

import type { DeletionReceipt } from "@responsa/contract/responsa/auth/v1/deletion_receipt_pb.js";
import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { recently } from "../account/recent.js";
import type { Api } from "../server/api.js";
import { filled, shown } from "../widgets/dialog.js";
import { element, replace, WRITTEN } from "../widgets/dom.js";
import type { Failure } from "../server/errors.js";
import { choiceEntry, placed, textEntry } from "../widgets/fields.js";
import { callName, plainName } from "../server/people.js";
import { PersonField, usersWith } from "../widgets/person.js";
import { receiptList } from "../widgets/receipt.js";
import { allCollections } from "../documents/library.js";
import { cleanName } from "../text/names.js";

/** The server may need this time, in milliseconds, to delete a user who has much. */
const LONGEST = 600_000;
/** The number of collections that a sentence names. */
const NAMED = 5;

/** Ask how to delete a user as the administrator `me`, delete the user, and show the receipt. Resolves to whether the user is deleted. `lasting`: the reason why administrators or owners must stay. */
export async function deleteUser(api: Pick<Api, "admin" | "auth" | "knowledge">, me: Pick<User, "tenant" | "email">, user: User, lasting: (failure: Failure) => string | undefined): Promise<boolean> {
  const label = callName(user);
  const shared = choiceEntry("Collections that others can read", [
    ["hand", "Hand these collections over to another user"],
    ["delete", "Delete these collections, with their documents"],
  ]);
  const heir = new PersonField("New owner", usersWith(api, "state = ACTIVE AND role != SERVICE"));
  const typed = textEntry(`Type “${label}” to confirm`, { maxlength: "254", spellcheck: "false", autocapitalize: "none" });
  shared.control.addEventListener("change", () => (heir.root.hidden = shared.control.value !== "hand"));
  let receipt: DeletionReceipt | undefined;
  const act = async () => {
    const handOver = shared.control.value === "hand";
    const other = handOver ? await heir.chosen() : undefined;
    if (handOver && !other) return false;
    const given = typed.control.value.trim().replace(/^\u2068|\u2069$/g, ""); // a name that was copied may be isolated
    if (cleanName(given) !== plainName(user)) {
      typed.refuse(`Type the name exactly as it is written here: ${label}`);
      typed.control.focus();
      return false;
    }
    const wanted = { name: user.name, handOverTo: other?.name ?? "", etag: user.etag };
    receipt = await recently(api, me, () => api.admin.deleteUser(wanted, { timeoutMs: LONGEST }));
    return undefined;
  };
  const explain = (failure: Failure) =>
    Promise.resolve(
      failure.reason === "ETAG_MISMATCH"
        ? "Somebody else changed this user meanwhile, so nothing is deleted. Cancel to see the other change, then try again."
        : (refusedShared(failure) ?? lasting(failure) ?? placed({ hand_over_to: heir.root.hidden ? shared : heir }, failure)),
    );
  const refusedShared = (failure: Failure) => {
    if (failure.reason !== "COLLECTION_NOT_EMPTY") return undefined;
    shared.refuse("A collection of the user holds documents of other users. Hand the collections over to another user.");
    shared.control.focus();
    return "";
  };
  const kept = element("div", { class: "stack", role: "status" });
  void collectionsOf(api, user).then((found) => replace(kept, ...found.map((one) => element("p", WRITTEN, one))), () => undefined);
  const about = element("p", {}, "Conversations, questions, answers, the user’s own documents, API keys and sessions are deleted for good. Other users’ answers that quote these documents are withdrawn. The audit log keeps what the user did, without the name. You cannot undo this.");
  const done = await filled({ title: `Delete ${label}?`, action: "Delete for good", fields: [about, kept, shared.root, heir.root, typed.root], first: shared.control, act, explain, danger: true });
  if (!done || !receipt) return done;
  const list = receiptList(receipt, "the user’s") ?? element("p", { tabindex: "-1" }, "The user had nothing else.");
  const rest = receipt.completeTime ? [] : [element("p", { class: "note" }, "The server is still deleting the rest, or is waiting for running questions of other users: their answers may quote the user’s documents.")];
  await shown(`${label} is deleted`, "Done", [list, ...rest], list);
  return true;
}

/** Which collections of the user others can read, and which are deleted because nobody else reads them, in sentences. Raises ConnectError. */
async function collectionsOf(api: Pick<Api, "knowledge">, { name }: User): Promise<string[]> {
  const own = (await allCollections(api)).filter((one) => one.owner === name);
  const listed = (shared: boolean) => {
    const labels = own.filter((one) => one.readers.length > 0 === shared).map((one) => `“${one.label}”`);
    const rest = labels.length - NAMED;
    return new Intl.ListFormat("en-GB").format(rest > 0 ? [...labels.slice(0, NAMED), `${rest} more`] : labels);
  };
  const [others, alone] = [listed(true), listed(false)];
  return [
    ...(others ? [`Others can read ${others}.`] : []),
    ...(alone ? [`Only this user can read ${alone}, which will be deleted. To keep a collection, cancel, and share the collection with somebody under Documents. Then delete the user.`] : []),
  ];
}
