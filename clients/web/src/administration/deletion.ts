/** Asks administrators how to delete a user, and shows what was deleted. */

import type { DeletionReceipt } from "@responsa/contract/responsa/auth/v1/deletion_receipt_pb.js";
import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { recently } from "../account/recent.js";
import { t } from "../language/administration/texts.js";
import { locale } from "../language/language.js";
import type { Api } from "../server/api.js";
import { filled, shown } from "../widgets/dialog.js";
import { element, replace, WRITTEN } from "../widgets/dom.js";
import type { Failure } from "../server/errors.js";
import { choiceEntry, placed, textEntry } from "../widgets/fields.js";
import { callName, plainName, usersWith } from "../server/people.js";
import { PersonField } from "../widgets/person.js";
import { receiptList } from "../widgets/receipt.js";
import { allCollections } from "../documents/library.js";
import { cleanName } from "../text/names.js";

/** The server may need this time, in milliseconds, to delete a user who has much. */
const LONGEST = 600_000;
/** The number of collections that a sentence names. */
const NAMED = 5;

/** Ask how to delete a user as the administrator `me`, delete the user, and show the receipt. Resolves to whether the user is deleted. */
export async function deleteUser(api: Pick<Api, "admin" | "auth" | "knowledge">, me: Pick<User, "tenant" | "email">, user: User): Promise<boolean> {
  const label = callName(user);
  const shared = choiceEntry(t("sharedCollections"), [
    ["hand", t("handOver")],
    ["delete", t("deleteThem")],
  ]);
  const heir = new PersonField(t("newOwner"), usersWith(api, "state = ACTIVE AND role != SERVICE"));
  const typed = textEntry(t("typeToConfirm", { text: label }), { maxlength: "254", spellcheck: "false", autocapitalize: "none" });
  shared.control.addEventListener("change", () => (heir.root.hidden = shared.control.value !== "hand"));
  let receipt: DeletionReceipt | undefined;
  const act = async () => {
    const handOver = shared.control.value === "hand";
    const other = handOver ? await heir.chosen() : undefined;
    if (handOver && !other) return false;
    const given = typed.control.value.trim().replace(/^\u2068|\u2069$/g, ""); // a name that was copied may be isolated
    if (cleanName(given) !== plainName(user)) {
      typed.refuse(t("typeNameExactly", { name: label }));
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
        ? t("userChanged")
        : (refusedShared(failure) ?? placed({ hand_over_to: heir.root.hidden ? shared : heir }, failure)),
    );
  const refusedShared = (failure: Failure) => {
    if (failure.reason !== "COLLECTION_NOT_EMPTY") return undefined;
    shared.refuse(t("holdsOthers"));
    shared.control.focus();
    return "";
  };
  const kept = element("div", { class: "stack", role: "status" });
  void collectionsOf(api, user).then((found) => replace(kept, ...found.map((one) => element("p", WRITTEN, one))), () => undefined);
  const about = element("p", {}, t("deleteUserAbout"));
  const done = await filled({ title: t("deleteTitle", { name: label }), action: t("deleteForGood"), fields: [about, kept, shared.root, heir.root, typed.root], first: shared.control, act, explain, danger: true });
  if (!done || !receipt) return done;
  const list = receiptList(receipt, false) ?? element("p", { tabindex: "-1" }, t("hadNothing"));
  const rest = receipt.completeTime ? [] : [element("p", { class: "note" }, t("stillDeleting"))];
  await shown(t("userIsDeleted", { user: label }), t("done"), [list, ...rest], list);
  return true;
}

/** Which collections of the user others can read, and which are deleted because nobody else reads them, in sentences. Raises ConnectError. */
async function collectionsOf(api: Pick<Api, "knowledge">, { name }: User): Promise<string[]> {
  const own = (await allCollections(api)).filter((one) => one.owner === name);
  const listed = (shared: boolean) => {
    const labels = own.filter((one) => one.readers.length > 0 === shared).map((one) => t("quoted", { text: one.label }));
    const rest = labels.length - NAMED;
    return new Intl.ListFormat(locale()).format(rest > 0 ? [...labels.slice(0, NAMED), t("more", { count: rest })] : labels);
  };
  const [others, alone] = [listed(true), listed(false)];
  return [
    ...(others ? [t("othersCanRead", { collections: others })] : []),
    ...(alone ? [t("onlyUserCanRead", { collections: alone })] : []),
  ];
}
