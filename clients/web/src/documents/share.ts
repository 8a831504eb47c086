/** Shares a collection: shows with whom it is shared, and changes this at once. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Collection } from "@responsa/contract/responsa/knowledge/v1/collection_pb.js";
import type { ReaderSchema } from "@responsa/contract/responsa/knowledge/v1/reader_pb.js";
import { accessText, labelsOf, sentenceCase, SHARED_ROLES, usersOf, type Me } from "./access.js";
import type { Api } from "../server/api.js";
import type { Contacts } from "./contacts.js";
import { shown } from "../widgets/dialog.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf, withWait, type Failure } from "../server/errors.js";
import { sentence } from "../widgets/fields.js";
import { collectionId, type Named } from "./library.js";
import { named, PersonField } from "../widgets/person.js";
import { t } from "../language/documents/texts.js";

type Wish = MessageInitShape<typeof ReaderSchema>;
const EVERYONE: Wish = { who: { case: "everyone", value: true } };

/** Show the dialog until the user closes it. Resolves to whether the readers have changed. Raises ConnectError if the collection cannot be read. */
export async function shareCollection(api: Pick<Api, "knowledge">, me: Me, contacts: Contacts, { name, label }: Named): Promise<boolean> {
  const dialog = new Sharing(api, me, contacts, await api.knowledge.getCollection({ name }));
  await dialog.paint();
  await shown(t("shareTitle", { label }), t("done"), dialog.rows, dialog.first);
  return dialog.changed;
}

class Sharing {
  readonly rows: readonly HTMLElement[];
  readonly first: HTMLElement;
  changed = false;
  readonly #api: Pick<Api, "knowledge">;
  readonly #me: Me;
  readonly #contacts: Contacts;
  readonly #state = element("p", { role: "status", class: "access" });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #everyone = switchOf(sentenceCase(t("everyone")), () => void this.#turn(EVERYONE, this.#everyone.box.checked));
  readonly #roles = SHARED_ROLES.map(([role, text]) => {
    const made = switchOf(sentenceCase(text), () => void this.#turn({ who: { case: "role", value: role } }, made.box.checked));
    return { ...made, role };
  });
  readonly #person: PersonField;
  readonly #people = element("ul", { class: "documents people", "aria-label": t("peopleWho") });
  #collection: Collection;
  #busy = false;

  constructor(api: Pick<Api, "knowledge">, me: Me, contacts: Contacts, collection: Collection) {
    this.#api = api;
    this.#me = me;
    this.#contacts = contacts;
    this.#collection = collection;
    this.#person = new PersonField(t("addPerson"), (text) => contacts.offered(text), t("personNote"));
    const add = element("button", { type: "submit" }, t("add"));
    const form = element("form", { class: "adding", novalidate: true }, this.#person.root, add);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#add();
    });
    const groups = element("fieldset", { class: "plain-set" }, element("legend", {}, t("groups")), this.#everyone.root, ...this.#roles.map((one) => one.root));
    const shared = this.#collection.sharedName === this.#collection.name ? "" : t("foundUnder", { id: collectionId(this.#collection.sharedName) });
    const note = element("p", { class: "note" }, `${t("sharingNote")}${shared}`);
    this.first = this.#person.control;
    this.rows = [this.#state, this.#people, form, groups, this.#problem, note];
  }

  async paint(): Promise<void> {
    const { readers } = this.#collection;
    const labels = await labelsOf(this.#collection, this.#contacts);
    this.#state.textContent = accessText(this.#me, this.#collection, labels);
    this.#everyone.box.checked = readers.some(({ who }) => who.case === "everyone");
    for (const { box, role } of this.#roles) box.checked = readers.some(({ who }) => who.case === "role" && who.value === role);
    const rows = usersOf(readers).map((one) => {
      const label = labels.get(one) ?? one;
      const remove = button(t("remove"), () => void this.#remove(one), { class: "plain danger", "aria-label": t("removeOne", { name: label }) });
      return element("li", {}, element("span", { class: "about", ...WRITTEN }, label), remove);
    });
    replace(this.#people, ...rows);
    this.#people.hidden = rows.length === 0;
  }

  async #add(): Promise<void> {
    const entry = this.#person;
    const { text } = entry;
    const before = new Set(usersOf(this.#collection.readers));
    try {
      const user = await this.#contacts.resolve(text);
      if (!named(user)) {
        entry.refuse(t("noPerson"));
        return entry.control.focus();
      }
      if (before.has(user)) return entry.refuse(t("inListAlready"));
      if (user === this.#collection.owner) return entry.refuse(t("ownerReads"));
      await this.#save([...this.#collection.readers, { who: { case: user.includes("@") ? "email" : "user", value: user } }]);
    } catch (error) {
      return this.#refuseAt(failureOf(error));
    }
    // The server's answer has no address. The page goes on to call somebody without a display name as the user did.
    for (const one of usersOf(this.#collection.readers)) if (!before.has(one) && one !== text) this.#contacts.learn(one, text);
    entry.control.value = "";
    entry.refuse("");
    await this.paint();
    entry.control.focus();
  }

  async #remove(user: string): Promise<void> {
    await this.#apply(this.#collection.readers.filter(({ who }) => !(who.case === "user" && who.value === user)));
    this.#person.control.focus(); // the button has gone
  }

  async #turn(wish: Wish, on: boolean): Promise<void> {
    const others = this.#collection.readers.filter(({ who }) => who.case !== wish.who?.case || who.value !== wish.who?.value);
    await this.#apply(on ? [...others, wish] : others);
  }

  async #apply(readers: readonly Wish[]): Promise<void> {
    try {
      await this.#save(readers);
    } catch (error) {
      const failure = failureOf(error);
      this.#problem.textContent = failure.reason === "ETAG_MISMATCH" ? t("sharedMeanwhile") : withWait(failure);
    }
    await this.paint(); // after a refusal, the switches show what is in effect
  }

  /** Raises ConnectError. If somebody else has changed the collection, the page then has its present state. */
  async #save(readers: readonly Wish[]): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    this.#problem.textContent = "";
    const { name, etag } = this.#collection;
    try {
      this.#collection = await this.#api.knowledge.updateCollection({ collection: { name, etag, readers: [...readers] }, updateMask: { paths: ["readers"] } });
      this.changed = true;
    } catch (error) {
      if (failureOf(error).reason === "ETAG_MISMATCH") {
        this.#collection = await this.#api.knowledge.getCollection({ name });
        this.changed = true;
      }
      throw error;
    } finally {
      this.#busy = false;
    }
  }

  #refuseAt(failure: Failure): void {
    const entry = this.#person;
    if (failure.reason === "ETAG_MISMATCH") {
      this.#problem.textContent = t("sharedMeanwhile");
      void this.paint();
      return;
    }
    const found = failure.violations.find(({ field }) => field.startsWith("collection.readers"));
    if (!found) {
      this.#problem.textContent = withWait(failure);
      return;
    }
    entry.refuse(sentence(t("thePerson"), found.description));
    entry.control.focus();
  }
}

function switchOf(label: string, change: () => void) {
  const box = element("input", { type: "checkbox", change });
  return { box, root: element("label", { class: "row" }, box, label) };
}
