/** Shows owners of the installation its tenants: makes, suspends, resumes and erases them, and invites their administrators. */

import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import { TenantState, type Tenant } from "@responsa/contract/responsa/admin/v1/tenant_pb.js";
import type { Api } from "../server/api.js";
import { confirmed, filled } from "../widgets/dialog.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import { failureOf, type Failure } from "../server/errors.js";
import { count, momentOf } from "../text/facts.js";
import { choiceEntry, placed, textEntry } from "../widgets/fields.js";
import { quoted } from "../server/filters.js";
import { Listing } from "../widgets/listing.js";
import type { Administrator } from "../server/people.js";
import { recently } from "../account/recent.js";
import { showSecret } from "../account/secret.js";
import { noted, type Part } from "../widgets/tabbed.js";
import { codeLink, EMAIL, until } from "./useracts.js";
import { cleanName } from "../text/names.js";

const PAGE = 50;
const ID = /^[a-z0-9][a-z0-9-]{0,62}$/;
const STATES: readonly (readonly [state: TenantState, value: string, label: string])[] = [
  [TenantState.ACTIVE, "ACTIVE", "Active"],
  [TenantState.SUSPENDED, "SUSPENDED", "Suspended"],
  [TenantState.ERASING, "ERASING", "Being erased"],
  [TenantState.ERASED, "ERASED", "Erased"],
];

export class TenantsView implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin" | "auth">;
  readonly #me: Administrator;
  readonly #say: (text: string) => void;
  readonly #search = textEntry("Name, or the whole id", { type: "search", maxlength: "200" });
  readonly #state = choiceEntry("State", [["", "All"], ...STATES.map(([, value, label]) => [value, label] as const)]);
  readonly #list: Listing<Tenant>;

  constructor(api: Pick<Api, "admin" | "auth">, me: Administrator, say: (text: string) => void) {
    this.#api = api;
    this.#me = me;
    this.#say = say;
    this.#list = new Listing<Tenant>({
      label: "Tenants",
      read: async (pageToken) => {
        const { tenants, nextPageToken } = await api.admin.listTenants({ pageSize: PAGE, pageToken, filter: this.#filter });
        return { items: tenants, next: nextPageToken };
      },
      row: (one) => this.#row(one),
      empty: () => "No tenant matches.",
    });
    const form = element("form", { class: "search-form", role: "search", "aria-label": "Tenants" }, this.#search.root, this.#state.root, element("button", { type: "submit" }, "Find"));
    const find = () => {
      noted({ area: "administration", tab: "tenants", query: { search: this.#search.control.value.trim(), state: this.#state.control.value } });
      void this.#list.refresh();
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      find();
    });
    this.#state.control.addEventListener("change", find);
    const about = element("p", { class: "note grow" }, "Each tenant is a separate organisation: nobody sees users, documents or conversations of another tenant.");
    const add = button("New tenant", () => void this.#create(), { class: "quiet" });
    this.root = element("div", { class: "stack" }, element("div", { class: "row wrap" }, about, add), form, this.#list.root);
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    this.#search.control.value = query["search"] ?? "";
    this.#state.control.value = query["state"] ?? "";
    if (this.#state.control.selectedIndex < 0) this.#state.control.value = ""; // the address names a value that does not exist
    await this.#list.refresh();
  }

  get #filter(): string {
    const [text, state] = [this.#search.control.value.trim(), this.#state.control.value];
    return [text && (ID.test(text) ? `(display_name:${quoted(text)} OR name = "tenants/${text}")` : `display_name:${quoted(text)}`), state && `state = ${state}`].filter(Boolean).join(" AND ");
  }

  #row(one: Tenant): HTMLElement {
    const { name, displayName, state, home, createTime, suspendTime, eraseTime, eraseEndTime } = one;
    const id = idOf(one);
    const label = labelOf(one);
    const moment = (what: string, time: Timestamp | undefined) => (time ? `${what} ${momentOf(timestampDate(time))}` : "");
    const facts = [displayName && displayName !== id ? id : "", moment("made", createTime), eraseTime ? moment("erasure began", eraseTime) : moment("suspended", suspendTime), moment("ended", eraseEndTime)];
    const badges = [
      ...(home ? [element("span", { class: "badge good" }, "this installation’s own")] : []),
      ...(state === TenantState.ACTIVE ? [] : [element("span", { class: "badge warn" }, (STATES.find(([each]) => each === state)?.[2] ?? "").toLowerCase())]),
    ];
    const erased = erasedText(one.erasedCounts);
    const acts = [
      ...(state === TenantState.ACTIVE ? [button("Invite administrator", () => void this.#invite(one), { "aria-label": `Invite administrator of ${label}` })] : []),
      ...(state === TenantState.ACTIVE && !home ? [button("Suspend", () => void this.#suspend(one), { class: "plain danger", "aria-label": `Suspend ${label}` })] : []),
      ...(state === TenantState.SUSPENDED ? [button("Resume", () => void this.#resume(one), { "aria-label": `Resume ${label}` })] : []),
      ...((state === TenantState.ACTIVE || state === TenantState.SUSPENDED) && !home ? [button("Erase", () => void this.#erase(one), { class: "plain danger", "aria-label": `Erase ${label}` })] : []),
    ];
    return element(
      "li",
      { class: "wrapping", id: `tenant-${name.replace("/", "-")}` },
      element(
        "div",
        { class: "about" },
        element("span", { class: "name", ...WRITTEN }, label),
        ...badges,
        element("p", { class: "note whole", ...WRITTEN }, facts.filter(Boolean).join(" · ")),
        ...(erased ? [element("p", { class: "note whole" }, `Erased: ${erased}`)] : []),
      ),
      element("div", { class: "row wrap acts" }, ...acts),
    );
  }

  async #create(): Promise<void> {
    const id = textEntry("Id", { required: true, maxlength: "63", spellcheck: "false", autocapitalize: "none" }, "Lower-case letters, digits and hyphens, such as “acme-sales”. People enter this id when they sign in. Nobody can change the id later.");
    const name = textEntry("Name", { maxlength: "200" }, "The name to show to people; the id if empty.");
    const email = textEntry("E-mail address of the first administrator", EMAIL, "Only this address can register with the code. Leave the field empty if the person may choose the address.");
    let made = { code: "", until: "", tenant: "" };
    const act = async () => {
      const tenantId = id.control.value.trim();
      const wanted = { tenantId, displayName: name.control.value.trim(), invitationEmail: email.control.value.trim() };
      const response = await recently(this.#api, this.#me, () => this.#api.admin.createTenant(wanted));
      made = { code: response.invitationCode, until: until(response.invitationExpireTime), tenant: `tenants/${tenantId}` };
    };
    const explain = (failure: Failure) => {
      if (failure.reason !== "RESOURCE_ALREADY_EXISTS") return Promise.resolve(placed({ tenant_id: id, display_name: name, invitation_email: email }, failure));
      id.refuse(failure.message);
      id.control.focus();
      return Promise.resolve("");
    };
    if (await filled({ title: "New tenant", action: "Create", fields: [id.root, name.root, email.root], first: id.control, act, explain })) {
      this.#say("Tenant created.");
      await this.#list.refresh();
      await this.#showCode("The tenant is created", made);
    }
    this.#search.control.focus();
  }

  async #invite(one: Tenant): Promise<void> {
    const email = textEntry("E-mail address", EMAIL, "Only this address can register with the code. Leave the field empty if the person may choose the address.");
    let made = { code: "", until: "", tenant: one.name };
    const act = async () => {
      const wanted = { name: one.name, invitationEmail: email.control.value.trim() };
      const response = await recently(this.#api, this.#me, () => this.#api.admin.inviteTenantAdministrator(wanted));
      made = { ...made, code: response.invitationCode, until: until(response.invitationExpireTime) };
    };
    const explain = (failure: Failure) => Promise.resolve(placed({ invitation_email: email }, failure));
    if (await filled({ title: `Invite an administrator of ${labelOf(one)}`, action: "Make the invitation", fields: [email.root], first: email.control, act, explain })) {
      this.#say("Invitation made.");
      await this.#showCode("The invitation", made);
    }
    this.#focus(`Invite administrator of ${labelOf(one)}`);
  }

  async #showCode(title: string, made: { readonly code: string; readonly until: string; readonly tenant: string }): Promise<void> {
    const text = `An administrator of the tenant registers with this link or code, once${made.until}. Protect the link and the code like a password.`;
    const link = await codeLink(this.#api, made.tenant, "invitation", made.code);
    await showSecret({ title, text, label: "Code", secret: made.code, link, say: this.#say, view: this.root });
  }

  async #suspend(one: Tenant): Promise<void> {
    const label = labelOf(one);
    const text = `No user of ${label} can sign in or make a call until you resume the tenant. Running questions are cancelled. Nothing is deleted.`;
    if (!(await confirmed({ title: `Suspend ${label}?`, text, action: "Suspend" }))) return;
    await this.#act(`${label} is suspended.`, `Resume ${label}`, () => recently(this.#api, this.#me, () => this.#api.admin.suspendTenant({ name: one.name })));
  }

  async #resume(one: Tenant): Promise<void> {
    const label = labelOf(one);
    await this.#act(`${label} is resumed.`, `Suspend ${label}`, () => this.#api.admin.resumeTenant({ name: one.name }));
  }

  async #erase(one: Tenant): Promise<void> {
    const [label, id] = [labelOf(one), idOf(one)];
    const typed = textEntry(`Type “${id}” to confirm`, { maxlength: "63", spellcheck: "false", autocapitalize: "none" });
    const act = async () => {
      const confirmTenantId = typed.control.value.trim();
      if (confirmTenantId !== id) {
        typed.refuse(`Type the id exactly as it is written here: ${id}`);
        typed.control.focus();
        return false;
      }
      await recently(this.#api, this.#me, () => this.#api.admin.eraseTenant({ name: one.name, confirmTenantId }));
      return undefined;
    };
    const explain = (failure: Failure) => Promise.resolve(placed({ confirm_tenant_id: typed }, failure));
    const text = "All users, documents, conversations, API keys and sessions of the tenant are deleted for good. Nobody can stop or undo the erasure, and the id cannot be used again. The audit log stays.";
    const done = await filled({ title: `Erase ${label}?`, action: "Erase for good", fields: [element("p", {}, text), typed.root], first: typed.control, act, explain, danger: true });
    if (done) this.#say(`The erasure of ${label} has begun.`);
    await this.#list.refresh();
    this.#focus(`Erase ${label}`);
  }

  async #act(said: string, next: string, act: () => Promise<unknown>): Promise<void> {
    let why = "";
    try {
      await act();
      this.#say(said);
    } catch (error) {
      why = failureOf(error).message;
    }
    await this.#list.refresh();
    if (why) this.#list.refuse(why);
    this.#focus(next);
  }

  /** Focus the button with that name, or the search. */
  #focus(label: string): void {
    const found = [...this.#list.root.querySelectorAll<HTMLElement>("button")].find((one) => one.getAttribute("aria-label") === label);
    (found ?? this.#search.control).focus();
  }
}

function idOf({ name }: Tenant): string {
  return name.replace(/^tenants\//, "");
}

function labelOf(tenant: Tenant): string {
  return cleanName(tenant.displayName.trim()) || idOf(tenant);
}

/** What an erasure has erased so far, such as "2 documents, 1 user". */
export function erasedText(counts: Readonly<Record<string, bigint>>): string {
  return Object.entries(counts)
    .map(([kind, number]) => count(number, kind.replaceAll("_", " ")))
    .join(", ");
}
