/** Shows API keys: the user's own, or those of all users of the tenant. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { ApiKey } from "@responsa/contract/responsa/auth/v1/api_key_pb.js";
import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import { confirmed } from "../widgets/dialog.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";
import { momentOf } from "../text/facts.js";
import { textEntry } from "../widgets/fields.js";
import { quoted } from "../server/filters.js";
import { Listing } from "../widgets/listing.js";
import { oneOf, type Administrator, type People } from "../server/people.js";
import { PersonSearch } from "../administration/personsearch.js";
import { newKey } from "./newkey.js";
import { recently } from "./recent.js";
import { noted, type Part } from "../widgets/tabbed.js";
import { viewFragment } from "../widgets/views.js";
import { cleanName, nameWithin } from "../text/names.js";

const PAGE = 50;

export interface KeysHooks {
  readonly say: (text: string) => void;
}

export class OwnKeysView implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "auth">;
  readonly #user: User;
  readonly #hooks: KeysHooks;
  readonly #add = button("New API key", () => void this.#create(), { class: "quiet" });
  readonly #list: Listing<ApiKey>;

  constructor(api: Pick<Api, "auth">, user: User, hooks: KeysHooks) {
    this.#api = api;
    this.#user = user;
    this.#hooks = hooks;
    this.#list = new Listing<ApiKey>({
      label: "API keys",
      read: async (pageToken) => {
        const { apiKeys, nextPageToken } = await api.auth.listApiKeys({ pageSize: PAGE, pageToken });
        return { items: apiKeys, next: nextPageToken };
      },
      row: (one) => keyRow(one, "", () => void this.#revoke(one)),
      empty: () => "No API keys. Programs need a key to make calls for you.",
    });
    const about = element("p", { class: "note grow" }, "Programs use API keys to make calls in your name.");
    this.root = element("div", { class: "stack" }, element("div", { class: "row wrap" }, about, this.#add), this.#list.root);
  }

  async show(): Promise<void> {
    await this.#list.refresh();
  }

  async #create(): Promise<void> {
    const made = await newKey({
      title: "New API key",
      shown: "Your new API key",
      whose: "in your name",
      narrower: this.#user.role === UserRole.ADMIN,
      make: (wanted) => recently(this.#api, this.#user, () => this.#api.auth.createApiKey(wanted)),
      made: () => void this.#list.refresh(),
      say: this.#hooks.say,
      refuse: (why) => this.#list.refuse(why),
      view: this.root,
    });
    if (made) this.#add.focus();
  }

  async #revoke({ name, displayName }: ApiKey): Promise<void> {
    const text = `Programs that use “${nameWithin(displayName) || "this key"}” cannot make any further call. Keys that were created with this key are also revoked, and all sessions that began with these keys end.`;
    if (!(await confirmed({ title: "Revoke the API key?", text, action: "Revoke" }))) return;
    try {
      await this.#api.auth.revokeApiKey({ name });
    } catch (error) {
      return this.#list.refuse(failureOf(error).message);
    }
    this.#hooks.say("API key revoked.");
    await this.#list.refresh();
    this.#add.focus();
  }
}

export class TenantKeysView implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin">;
  readonly #people: People;
  readonly #hooks: KeysHooks;
  readonly #name = textEntry("Name of the key", { type: "search", maxlength: "200" });
  readonly #owner: PersonSearch;
  readonly #list: Listing<ApiKey>;
  #labels: ReadonlyMap<string, string> = new Map();

  constructor(api: Pick<Api, "admin">, people: People, me: Administrator, hooks: KeysHooks) {
    this.#api = api;
    this.#people = people;
    this.#owner = new PersonSearch("Owner", people);
    this.#hooks = hooks;
    this.#list = new Listing<ApiKey>({
      label: "API keys of all users",
      read: (pageToken) => this.#read(pageToken),
      row: (one) => keyRow(one, this.#labels.get(one.owner) ?? one.owner, this.#people.mayChange(one.owner, me) && (() => void this.#revoke(one))),
      empty: () => (this.#name.control.value.trim() || this.#owner.sought ? "No key matches." : "No API keys yet."),
    });
    const form = element("form", { class: "search-form", role: "search", "aria-label": "API keys" }, this.#name.root, this.#owner.entry.root, element("button", { type: "submit" }, "Find"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      noted({ area: "administration", tab: "keys", query: { name: this.#name.control.value.trim(), owner: this.#owner.sought } });
      void this.#list.refresh();
    });
    const about = element(
      "p",
      { class: "note" },
      "The keys of all users. To make a key for a program, make a user with the role “Service (a program)” under ",
      element("a", { href: viewFragment({ area: "administration", tab: "users", query: {} }) }, "Users"),
      ", and then the key on that user’s page. Keys that act in your own name are in ",
      element("a", { href: viewFragment({ area: "profile", tab: "keys", query: {} }) }, "your profile"),
      ".",
    );
    this.root = element("div", { class: "stack" }, about, form, this.#list.root);
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    this.#name.control.value = query["name"] ?? "";
    await this.#owner.show(query["owner"] ?? "");
    await this.#list.refresh();
  }

  async #read(pageToken: string) {
    const name = this.#name.control.value.trim();
    const owners = await this.#owner.names();
    if (owners?.length === 0) return { items: [], next: "" };
    const filter = [name && `display_name:${quoted(name)}`, owners && oneOf("owner", owners)].filter(Boolean).join(" AND ");
    const { apiKeys, nextPageToken } = await this.#api.admin.listTenantApiKeys({ pageSize: PAGE, pageToken, filter });
    this.#labels = new Map([...this.#labels, ...(await this.#people.labels(apiKeys.map((one) => one.owner)))]);
    return { items: apiKeys, next: nextPageToken };
  }

  async #revoke({ name, displayName, owner }: ApiKey): Promise<void> {
    const whose = this.#labels.get(owner) ?? owner;
    const text = `Programs that use the key “${nameWithin(displayName) || name}” of ${whose} cannot make any further call. Keys that were created with this key are also revoked, and all sessions that began with these keys end.`;
    if (!(await confirmed({ title: "Revoke the API key?", text, action: "Revoke" }))) return;
    try {
      await this.#api.admin.revokeTenantApiKey({ name });
    } catch (error) {
      return this.#list.refuse(failureOf(error).message);
    }
    this.#hooks.say("API key revoked.");
    await this.#list.refresh();
    this.#name.control.focus();
  }
}

/** The row of a key. `owner`: the text for its owner, or "" for the user's own keys. `revoke`: false if the user may not revoke the key. */
function keyRow(key: ApiKey, owner: string, revoke: (() => void) | false): HTMLElement {
  const { displayName, prefix, createTime, expireTime, revokeTime, parentKey, role } = key;
  const label = cleanName(displayName) || "Key without a name";
  const expired = expireTime !== undefined && timestampDate(expireTime).getTime() <= Date.now();
  const facts = [
    owner,
    `begins with ${prefix}`,
    createTime ? `created ${momentOf(timestampDate(createTime))}` : "",
    revokeTime ? `revoked ${momentOf(timestampDate(revokeTime))}` : expireTime ? `${expired ? "expired" : "expires"} ${momentOf(timestampDate(expireTime))}` : "does not expire",
    role === UserRole.USER ? "only the rights of a user" : "",
    parentKey ? "created with another key" : "",
  ];
  const state = revokeTime ? [element("span", { class: "badge" }, "revoked")] : expired ? [element("span", { class: "badge" }, "expired")] : [];
  const act = revokeTime || expired || !revoke ? [] : [button("Revoke", revoke, { class: "plain danger", "aria-label": `Revoke ${label}${owner && ` of ${owner}`}` })];
  const about = element("div", { class: "about" }, element("span", { class: "name", ...WRITTEN }, label), ...state, element("p", { class: "note whole", ...WRITTEN }, facts.filter(Boolean).join(" · ")));
  return element("li", {}, about, ...act);
}
