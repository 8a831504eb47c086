/** Deletes the user's account, after the user has chosen what becomes of shared collections, and shows what was deleted. */

import type { DeletionReceipt } from "@responsa/contract/responsa/auth/v1/deletion_receipt_pb.js";
import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import type { Contacts } from "../documents/contacts.js";
import { filled } from "../widgets/dialog.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import type { Failure } from "../server/errors.js";
import { lacking, placed } from "../widgets/fields.js";
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
  const heirs = new Heirs(contacts);
  const sure = element("input", { type: "checkbox", id: "leaving-sure", required: true });
  const loading = element("p", { class: "note", role: "status" }, t("lookingForShared"));
  // Without the list, the choice is offered all the same, because there may be such collections.
  const loaded = allCollections(api)
    .then((found) => found.filter((one) => one.owner === user.name && one.readers.length > 0), () => undefined)
    .then((shared) => {
      loading.hidden = true;
      heirs.show(shared);
    });
  const act = async () => {
    await loaded;
    if (heirs.missing() !== undefined) throw new Incomplete();
    const handOverTo = await heirs.chosen();
    if (handOverTo && !named(handOverTo)) {
      heirs.person.refuse(NEITHER);
      heirs.person.control.focus();
      return false;
    }
    const receipt = await recently(api, user, () => api.auth.deleteMe({ handOverTo }, { timeoutMs: LONGEST }));
    deleted(receipt);
    return undefined;
  };
  const explain = ({ reason, ...others }: Failure) => {
    const missing = heirs.missing();
    if (missing !== undefined) return Promise.resolve(missing);
    if (reason === "") return Promise.resolve(t("deletionCut"));
    return Promise.resolve(placed({ hand_over_to: heirs.person }, { reason, ...others }));
  };
  const goes = element(
    "ul",
    { class: "bullets" },
    ...[t("goesConversations"), t("goesDocuments"), t("goesKeys"), t("goesAnswers")].map((one) => element("li", {}, one)),
  );
  const stays = element("p", { class: "note" }, t("auditKeepsId"));
  const confirm = element("label", { class: "row", for: "leaving-sure" }, sure, t("deleteForGood"));
  await filled({ title: t("deleteAccountTitle"), action: t("deleteAccount"), danger: true, fields: [element("p", {}, t("goesForGood")), goes, stays, loading, heirs.root, confirm], first: sure, act, explain });
}

/** The user has not chosen yet. */
class Incomplete extends Error {}

/** The choice of what becomes of shared collections. */
class Heirs {
  readonly root = element("fieldset", { class: "plain-set", hidden: true });
  readonly person: PersonField;
  readonly #contacts: Contacts;
  readonly #hand = element("input", { type: "radio", name: "leaving", value: "hand" });
  readonly #erase = element("input", { type: "radio", name: "leaving", value: "erase" });
  #asked = true;

  constructor(contacts: Contacts) {
    this.#contacts = contacts;
    this.person = new PersonField(t("newOwner"), (text) => contacts.offered(text), `${t("heirNote")} ${PERSON_NOTE}`);
    for (const one of [this.#hand, this.#erase]) {
      one.required = true;
      one.addEventListener("change", () => {
        this.person.root.hidden = !this.#hand.checked;
        this.person.control.disabled = !this.#hand.checked; // the browser checks only controls that it shows
      });
    }
    this.person.control.required = true;
    this.person.root.hidden = this.person.control.disabled = true;
  }

  /** Offer the choice for these collections; undefined if they are not known. */
  show(shared: readonly Listed[] | undefined): void {
    this.#asked = shared === undefined || shared.length > 0;
    this.root.hidden = !this.#asked;
    // A required control that is hidden would keep the browser from sending the form.
    this.#hand.disabled = this.#erase.disabled = !this.#asked;
    const names = shared?.slice(0, NAMED).map((one) => `“${one.label}”`) ?? [];
    const others = (shared?.length ?? 0) - names.length;
    const which = names.length > 0 ? `: ${[...names, ...(others > 0 ? [t("moreOthers", { count: others })] : [])].join(", ")}` : "";
    this.root.replaceChildren(
      element("legend", WRITTEN, t("sharedCollections") + which),
      element("label", { class: "row" }, this.#hand, t("handOver")),
      this.person.root,
      element("label", { class: "row" }, this.#erase, t("deleteThemToo")),
    );
  }

  /** What is missing, in words, or "" if the field says it; undefined if the choice is made. The missing part gets the focus. */
  missing(): string | undefined {
    if (!this.#asked || this.#erase.checked) return undefined;
    if (this.#hand.checked) return lacking([this.person]) ? "" : undefined;
    this.#hand.focus();
    return t("chooseShared");
  }

  /** The new owner, or "". */
  chosen(): Promise<string> {
    return this.#asked && this.#hand.checked ? this.#contacts.resolve(this.person.text) : Promise.resolve("");
  }
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
