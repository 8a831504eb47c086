/** Deletes the user's account, after the user has chosen what becomes of shared collections, and shows what was deleted. */

import type { DeletionReceipt } from "@responsa/contract/responsa/auth/v1/deletion_receipt_pb.js";
import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import type { Contacts } from "../documents/contacts.js";
import { filled } from "../widgets/dialog.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import type { Failure } from "../server/errors.js";
import { choiceEntry, lacking, placed, type Entry } from "../widgets/fields.js";
import { allCollections, type Listed } from "../documents/library.js";
import { named, NEITHER, PERSON_NOTE, PersonField } from "../widgets/person.js";
import { receiptList } from "../widgets/receipt.js";
import { t } from "../language/account/texts.js";
import { recently } from "./recent.js";

/** The server may need this time, in milliseconds, to erase a large account. */
const LONGEST = 600_000;
/** The number of collections that the dialog names. */
const NAMED = 5;

export interface LeavingHooks {
  readonly contacts: Contacts;
  /** The account is deleted, and the session has ended. */
  readonly deleted: (receipt: DeletionReceipt) => void;
}

/** The section of the profile that deletes the account. */
export function leaving(api: Pick<Api, "auth" | "knowledge">, user: User, hooks: LeavingHooks): HTMLElement {
  const begin = button(t("deleteAccount"), () => void leave(api, user, hooks), { class: "danger quiet" });
  const about = element("p", { class: "note" }, t("deleteAccountAbout"));
  return element("section", { class: "part", "aria-labelledby": "leaving-title" }, element("h3", { id: "leaving-title" }, t("deleteAccount")), about, begin);
}

async function leave(api: Pick<Api, "auth" | "knowledge">, user: User, { contacts, deleted }: LeavingHooks): Promise<void> {
  const shared = choiceEntry(t("whatHappens"), [["", t("choose")], ["hand", t("handOver")], ["erase", t("deleteThemToo")]]);
  const heir = new PersonField(t("newOwner"), (text) => contacts.offered(text), `${t("heirNote")} ${PERSON_NOTE}`);
  const sure = element("input", { type: "checkbox", id: "leaving-sure", required: true });
  const which = element("p", { class: "note", role: "status", ...WRITTEN }, t("lookingForShared"));
  // A required control that is hidden would keep the browser from sending the form.
  const show = (one: Entry, shown: boolean) => (one.root.hidden = one.control.disabled = !shown);
  const offer = () => show(heir, shared.control.value === "hand");
  shared.control.required = heir.control.required = true;
  shared.control.addEventListener("change", offer);
  show(shared, false);
  offer();
  // Without the list, the choice is offered all the same, because there may be such collections.
  const loaded = allCollections(api)
    .then((found) => found.filter((one) => one.owner === user.name && one.readers.length > 0), () => undefined)
    .then((found) => {
      which.textContent = found ? namesOf(found) : "";
      show(shared, found?.length !== 0);
    });
  const act = async () => {
    await loaded;
    if (lacking([shared, heir].filter(({ root }) => !root.hidden))) return false;
    const handOverTo = heir.root.hidden ? "" : await contacts.resolve(heir.text);
    if (handOverTo && !named(handOverTo)) {
      heir.refuse(NEITHER);
      heir.control.focus();
      return false;
    }
    deleted(await recently(api, user, () => api.auth.deleteMe({ handOverTo }, { timeoutMs: LONGEST })));
    return undefined;
  };
  const explain = (failure: Failure) => Promise.resolve(failure.reason === "" ? t("deletionCut") : placed({ hand_over_to: heir }, failure));
  const goes = element("ul", { class: "bullets" }, ...[t("goesConversations"), t("goesDocuments"), t("goesKeys"), t("goesAnswers")].map((one) => element("li", {}, one)));
  const stays = element("p", { class: "note" }, t("auditKeepsId"));
  const confirm = element("label", { class: "row", for: sure.id }, sure, t("deleteForGood"));
  await filled({ title: t("deleteAccountTitle"), action: t("deleteAccount"), danger: true, fields: [element("p", {}, t("goesForGood")), goes, stays, which, shared.root, heir.root, confirm], first: sure, act, explain });
}

/** Which collections the user shares, in words; "" for none. */
function namesOf(shared: readonly Listed[]): string {
  const names = shared.slice(0, NAMED).map((one) => t("quoted", { text: one.label }));
  const others = shared.length - names.length;
  return names.length > 0 ? `${t("sharedCollections")}: ${[...names, ...(others > 0 ? [t("more", { count: others })] : [])].join(", ")}` : "";
}

/** The page after the deletion. */
export function farewell(receipt: DeletionReceipt, goOn: () => void): HTMLElement {
  const heading = element("h1", { tabindex: "-1" }, t("accountDeleted"));
  const list = receiptList(receipt, true);
  const open = receipt.completeTime ? t("onlyIdLeft") : t("stillChecks");
  return element(
    "main",
    { class: "signed-out" },
    heading,
    element("p", { role: "status" }, open),
    ...(list ? [list] : []),
    element("p", { class: "note" }, t("receiptFor", { user: receipt.user })),
    button(t("toSignIn"), goOn, { class: "filled" }),
  );
}
