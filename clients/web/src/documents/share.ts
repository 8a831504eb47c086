/** Shares a collection: shows with whom it is shared, and changes this at once. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Collection } from "@responsa/contract/responsa/knowledge/v1/collection_pb.js";
import type { ReaderSchema } from "@responsa/contract/responsa/knowledge/v1/reader_pb.js";
import { accessText, labelsOf, SHARED_ROLES, type Me } from "./access.js";
import type { Api } from "../server/api.js";
import type { Contacts } from "./contacts.js";
import { shown } from "../widgets/dialog.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf, withWait, type Failure } from "../server/errors.js";
import { sentence } from "../widgets/fields.js";
import { collectionId, type Named } from "./library.js";
import { named, NEITHER, PERSON_NOTE, PersonField } from "../widgets/person.js";

type Wish = MessageInitShape<typeof ReaderSchema>;
const EVERYONE: Wish = { who: { case: "everyone", value: true } };

/** Show the dialog until the user closes it. Resolves to whether the readers have changed. Raises ConnectError if the collection cannot be read. */
export async function shareCollection(api: Pick<Api, "knowledge">, me: Me, contacts: Contacts, { name, label }: Named): Promise<boolean> {
  const dialog = new Sharing(api, me, contacts, await api.knowledge.getCollection({ name }));
  await dialog.paint();
  await shown(`Share “${label}”`, "Done", dialog.rows, dialog.first);
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
  readonly #everyone = switchOf("Everyone in your organisation", () => void this.#turn(EVERYONE, this.#everyone.box.checked));
  readonly #roles = SHARED_ROLES.map(([role, text]) => {
    const made = switchOf(text.charAt(0).toLocaleUpperCase("en") + text.slice(1), () => void this.#turn({ who: { case: "role", value: role } }, made.box.checked));
    return { ...made, role };
  });
  readonly #person: PersonField;
  readonly #people = element("ul", { class: "documents people", "aria-label": "People who read the collection" });
  #collection: Collection;
  #busy = false;

  constructor(api: Pick<Api, "knowledge">, me: Me, contacts: Contacts, collection: Collection) {
    this.#api = api;
    this.#me = me;
    this.#contacts = contacts;
    this.#collection = collection;
    this.#person = new PersonField("Add a person", (text) => contacts.offered(text), PERSON_NOTE);
    const add = element("button", { type: "submit" }, "Add");
    const form = element("form", { class: "adding", novalidate: true }, this.#person.root, add);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#add();
    });
    const groups = element("fieldset", { class: "plain-set" }, element("legend", {}, "Groups"), this.#everyone.root, ...this.#roles.map((one) => one.root));
    const shared = this.#collection.sharedName === this.#collection.name ? "" : ` Others find the collection under the id ${collectionId(this.#collection.sharedName)}.`;
    const note = element("p", { class: "note" }, `Readers search and read the documents. Only the owner and administrators can add, change and delete documents. Changes apply at once.${shared}`);
    this.first = this.#person.control;
    this.rows = [this.#state, this.#people, form, groups, this.#problem, note];
  }

  async paint(): Promise<void> {
    const { owner, readers } = this.#collection;
    const users = this.#users;
    const labels = labelsOf(this.#collection, await this.#contacts.labels([owner, ...users]));
    this.#state.textContent = accessText(this.#me, this.#collection, labels);
    this.#everyone.box.checked = readers.some(({ who }) => who.case === "everyone");
    for (const { box, role } of this.#roles) box.checked = readers.some(({ who }) => who.case === "role" && who.value === role);
    const rows = users.map((one) => {
      const label = labels.get(one) ?? one;
      const remove = button("Remove", () => void this.#remove(one), { class: "plain danger", "aria-label": `Remove ${label}` });
      return element("li", {}, element("span", { class: "about", ...WRITTEN }, label), remove);
    });
    replace(this.#people, ...rows);
    this.#people.hidden = rows.length === 0;
  }

  async #add(): Promise<void> {
    const entry = this.#person;
    const { text } = entry;
    const before = new Set(this.#users);
    try {
      const user = await this.#contacts.resolve(text);
      if (!named(user)) {
        entry.refuse(NEITHER);
        return entry.control.focus();
      }
      if (before.has(user)) return entry.refuse("This person is in the list already.");
      if (user === this.#collection.owner) return entry.refuse("The owner can always read the collection.");
      await this.#save([...this.#collection.readers, { who: { case: user.includes("@") ? "email" : "user", value: user } }]);
    } catch (error) {
      return this.#refuseAt(failureOf(error));
    }
    // The server's answer has no address. The page goes on to call somebody without a display name as the user did.
    for (const one of this.#users) if (!before.has(one) && one !== text) this.#contacts.learn(one, text);
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
      this.#problem.textContent = failure.reason === "ETAG_MISMATCH" ? MEANWHILE : withWait(failure);
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
      this.#problem.textContent = MEANWHILE;
      void this.paint();
      return;
    }
    const found = failure.violations.find(({ field }) => field.startsWith("collection.readers"));
    if (!found) {
      this.#problem.textContent = withWait(failure);
      return;
    }
    entry.refuse(sentence("The person", found.description));
    entry.control.focus();
  }

  /** The people among the readers, `users/{uuid}`. */
  get #users(): readonly string[] {
    return this.#collection.readers.flatMap(({ who }) => (who.case === "user" ? [who.value] : []));
  }
}

const MEANWHILE = "Somebody else changed this collection in the meantime, so your change was not made. The list shows the present state; try again.";

function switchOf(label: string, change: () => void) {
  const box = element("input", { type: "checkbox", change });
  return { box, root: element("label", { class: "row" }, box, label) };
}
