/** Shares a collection: shows with whom it is shared, and changes this at once. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Group } from "@responsa/contract/responsa/admin/v1/group_pb.js";
import type { Collection } from "@responsa/contract/responsa/knowledge/v1/collection_pb.js";
import type { ReaderSchema } from "@responsa/contract/responsa/knowledge/v1/reader_pb.js";
import { accessText, labelsOf, sentenceCase, SHARED_ROLES, usersOf, type Me } from "./access.js";
import type { Api } from "../server/api.js";
import type { Contacts } from "./contacts.js";
import { shown } from "../widgets/dialog.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf, withWait, type Failure } from "../server/errors.js";
import { sentence } from "../widgets/fields.js";
import type { Named } from "./library.js";
import { named, PersonField } from "../widgets/person.js";
import { nameWithin } from "../text/names.js";
import { t } from "../language/documents/texts.js";

type Wish = MessageInitShape<typeof ReaderSchema>;
const EVERYONE: Wish = { who: { case: "everyone", value: true } };
const GROUPS = 200; // the maximum number of groups that the dialog offers

/** Show the dialog until the user closes it. Resolves to whether the readers have changed. Raises ConnectError if the collection cannot be read. */
export async function shareCollection(api: Pick<Api, "admin" | "knowledge">, me: Me, contacts: Contacts, { name, label }: Named): Promise<boolean> {
  const [collection, { groups }] = await Promise.all([api.knowledge.getCollection({ name }), api.admin.listGroups({ pageSize: GROUPS, orderBy: "display_name" })]);
  const dialog = new Sharing(api, me, contacts, collection, groups);
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
  readonly #groups: readonly { readonly name: string; readonly box: HTMLInputElement; readonly root: HTMLElement }[];
  readonly #person: PersonField;
  readonly #people = element("ul", { class: "documents people", "aria-label": t("peopleWho") });
  #collection: Collection;
  #busy = false;

  constructor(api: Pick<Api, "knowledge">, me: Me, contacts: Contacts, collection: Collection, groups: readonly Group[]) {
    this.#api = api;
    this.#me = me;
    this.#contacts = contacts;
    this.#collection = collection;
    this.#person = new PersonField(t("addPerson"), (text) => contacts.offered(text), t("personNote"));
    this.#groups = groups.map(({ name, displayName }) => {
      const made = switchOf(nameWithin(displayName), () => void this.#turn({ who: { case: "group", value: name } }, made.box.checked));
      return { ...made, name };
    });
    const add = element("button", { type: "submit", class: "quiet" }, t("add"));
    const form = element("form", { class: "adding", novalidate: true }, this.#person.root, add);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#add();
    });
    const sets = [this.#everyone, ...this.#groups].map((one) => one.root);
    const roles = element("details", { class: "raw", open: this.#collection.readers.some(({ who }) => who.case === "role") }, element("summary", {}, t("byRole")), ...this.#roles.map((one) => one.root));
    const fieldset = element("fieldset", { class: "plain-set" }, element("legend", {}, t("groups")), ...sets, roles);
    const note = element("p", { class: "note" }, t("sharingNote"));
    this.first = this.#person.control;
    this.rows = [this.#state, this.#people, form, fieldset, this.#problem, note];
  }

  async paint(): Promise<void> {
    const { readers } = this.#collection;
    const labels = await labelsOf(this.#collection, this.#contacts);
    this.#state.textContent = accessText(this.#me, this.#collection, labels);
    this.#everyone.box.checked = readers.some(({ who }) => who.case === "everyone");
    for (const { box, role } of this.#roles) box.checked = readers.some(({ who }) => who.case === "role" && who.value === role);
    for (const { box, name } of this.#groups) box.checked = readers.some(({ who }) => who.case === "group" && who.value === name);
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
  return { box, root: element("label", { class: "row", ...WRITTEN }, box, label) };
}
