/** Shows owners of the installation its tenants: makes, suspends, resumes and erases them, and invites their administrators. */

import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { TenantState, type Tenant } from "@responsa/contract/responsa/admin/v1/tenant_pb.js";
import { recently } from "../account/recent.js";
import { showSecret } from "../account/secret.js";
import { t as counted } from "../language/account/texts.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import type { Failure } from "../server/errors.js";
import { quoted } from "../server/filters.js";
import type { Administrator } from "../server/people.js";
import { moment } from "../text/facts.js";
import { cleanName } from "../text/names.js";
import { filled } from "../widgets/dialog.js";
import { button, element } from "../widgets/dom.js";
import { choiceEntry, EMAIL, placed, textEntry } from "../widgets/fields.js";
import { actButton, badge, beginButton, focusOn, ResourceList, type Row, type Stage } from "../widgets/resourcelist.js";
import type { Part } from "../widgets/tabbed.js";
import { codeLink, until } from "./useracts.js";

/** The words for what an erasure erases, by the tables that the server names. */
const ERASED = { app_user: "deletedUsers", conversation: "deletedConversations", turn: "deletedTurns", message: "deletedMessages", collection: "deletedCollections", document: "deletedDocuments", api_key: "deletedKeys", session: "endedSessions" } as const;
const ID = /^[a-z0-9][a-z0-9-]{0,62}$/;
const STATES = [
  [TenantState.ACTIVE, "ACTIVE", t("stateActive")],
  [TenantState.SUSPENDED, "SUSPENDED", t("stateSuspended")],
  [TenantState.ERASING, "ERASING", t("stateErasing")],
  [TenantState.ERASED, "ERASED", t("stateErased")],
] as const;

export function tenantsView(api: Pick<Api, "admin" | "auth">, me: Administrator, say: (text: string) => void): Part {
  const acts = new TenantActs(api, me);
  return new ResourceList({
    label: t("tenants"),
    about: [t("tenantsAbout")],
    add: (stage) => [beginButton(t("newTenant"), () => acts.create(stage))],
    tab: "tenants",
    filters: { search: textEntry(t("nameOrId"), { type: "search", maxlength: "200" }), state: choiceEntry(t("state"), [["", t("all")], ...STATES.map(([, value, label]) => [value, label] as const)]) },
    list: (asked, { search: text = "", state }) => {
      const named = text && (ID.test(text) ? `(display_name:${quoted(text)} OR name = "tenants/${text}")` : `display_name:${quoted(text)}`);
      return api.admin.listTenants({ ...asked, filter: [named, state && `state = ${state}`].filter(Boolean).join(" AND ") });
    },
    items: ({ tenants }) => tenants,
    row: (tenant: Tenant, stage) => acts.row(stage, tenant),
    empty: t("noTenantMatches"),
    say,
  });
}

class TenantActs {
  readonly #api: Pick<Api, "admin" | "auth">;
  readonly #me: Administrator;

  constructor(api: Pick<Api, "admin" | "auth">, me: Administrator) {
    this.#api = api;
    this.#me = me;
  }

  row(stage: Stage, tenant: Tenant): Row {
    const { name, displayName, state, home, createTime, suspendTime, eraseTime, eraseEndTime } = tenant;
    const [id, label] = [idOf(tenant), labelOf(tenant)];
    const erased = erasedText(tenant.erasedCounts);
    const active = state === TenantState.ACTIVE;
    const [suspendName, resumeName] = [t("suspendTenant", { tenant: label }), t("resumeTenant", { tenant: label })];
    const suspend = {
      label: t("suspend"),
      name: suspendName,
      ask: { title: t("suspendTitle", { tenant: label }), text: t("suspendText", { tenant: label }) },
      does: () => recently(this.#api, this.#me, () => this.#api.admin.suspendTenant({ name })),
      said: t("tenantSuspended", { tenant: label }),
      next: resumeName,
    };
    const resume = { label: t("resume"), name: resumeName, does: () => this.#api.admin.resumeTenant({ name }), said: t("tenantResumed", { tenant: label }), next: suspendName };
    return {
      name: label,
      badges: [...(home ? [badge(t("homeTenant"), "good")] : []), ...(active ? [] : [badge((STATES.find(([each]) => each === state)?.[2] ?? "").toLowerCase(), "warn")])],
      facts: [
        displayName && displayName !== id && id,
        createTime && t("made", { time: moment(createTime) }),
        eraseTime ? t("erasureBeganAt", { time: moment(eraseTime) }) : suspendTime && t("suspendedAt", { time: moment(suspendTime) }),
        eraseEndTime && t("endedAt", { time: moment(eraseEndTime) }),
      ],
      more: erased ? [element("p", { class: "note whole" }, erased)] : [],
      acts: [
        ...(active ? [button(t("inviteAdministrator"), () => void this.#invite(stage, tenant), { "aria-label": t("inviteAdministratorOf", { tenant: label }) })] : []),
        ...(active && !home ? [actButton(stage, suspend)] : []),
        ...(state === TenantState.SUSPENDED ? [actButton(stage, resume)] : []),
        ...((active || state === TenantState.SUSPENDED) && !home ? [button(t("erase"), () => void this.#erase(stage, tenant), { class: "plain danger", "aria-label": t("eraseTenant", { tenant: label }) })] : []),
      ],
    };
  }

  async create(stage: Stage): Promise<void> {
    const id = textEntry(t("id"), { required: true, maxlength: "63", spellcheck: "false", autocapitalize: "none" }, t("tenantIdNote"));
    const name = textEntry(t("name"), { maxlength: "200" }, t("tenantNameNote"));
    const email = textEntry(t("firstAdministrator"), EMAIL, t("invitedNote"));
    let made: Invited | undefined;
    const act = async () => {
      const wanted = { tenantId: id.control.value.trim(), displayName: name.control.value.trim(), invitationEmail: email.control.value.trim() };
      made = await recently(this.#api, this.#me, () => this.#api.admin.createTenant(wanted));
    };
    const explain = (failure: Failure) => Promise.resolve(placed({ tenant_id: id, display_name: name, invitation_email: email }, failure, id));
    if (!(await filled({ title: t("newTenant"), action: t("create"), fields: [id.root, name.root, email.root], first: id.control, act, explain })) || !made) return;
    stage.say(t("tenantCreated"));
    await stage.again();
    await this.#showCode(stage, t("theTenantIsCreated"), `tenants/${id.control.value.trim()}`, made, email.control.value.trim());
  }

  async #invite(stage: Stage, tenant: Tenant): Promise<void> {
    const email = textEntry(t("email"), EMAIL, t("invitedNote"));
    let made: Invited | undefined;
    const act = async () => {
      const wanted = { name: tenant.name, invitationEmail: email.control.value.trim() };
      made = await recently(this.#api, this.#me, () => this.#api.admin.inviteTenantAdministrator(wanted));
    };
    const explain = (failure: Failure) => Promise.resolve(placed({ invitation_email: email }, failure));
    const title = t("inviteAdministratorTitle", { tenant: labelOf(tenant) });
    if ((await filled({ title, action: t("makeInvitation"), fields: [email.root], first: email.control, act, explain })) && made) {
      stage.say(t("invitationMade"));
      await this.#showCode(stage, t("theInvitation"), tenant.name, made, email.control.value.trim());
    }
    focusOn(stage, t("inviteAdministratorOf", { tenant: labelOf(tenant) }));
  }

  async #showCode({ say, root: view }: Stage, title: string, tenant: string, { invitationCode: code, invitationExpireTime }: Invited, email: string): Promise<void> {
    const link = await codeLink(this.#api, tenant, "invitation", code, email);
    await showSecret({ title, text: t("tenantCodeText", { until: until(invitationExpireTime) }), lines: [["code", code], ["link", link]], say, view });
  }

  async #erase(stage: Stage, tenant: Tenant): Promise<void> {
    const [label, id] = [labelOf(tenant), idOf(tenant)];
    const typed = textEntry(t("typeToConfirm", { text: id }), { maxlength: "63", spellcheck: "false", autocapitalize: "none" });
    const act = async () => {
      const confirmTenantId = typed.control.value.trim();
      if (confirmTenantId !== id) {
        typed.refuse(t("typeIdExactly", { id }));
        typed.control.focus();
        return false;
      }
      await recently(this.#api, this.#me, () => this.#api.admin.eraseTenant({ name: tenant.name, confirmTenantId }));
      return undefined;
    };
    const explain = (failure: Failure) => Promise.resolve(placed({ confirm_tenant_id: typed }, failure));
    const done = await filled({ title: t("eraseTitle", { tenant: label }), action: t("eraseForGood"), fields: [element("p", {}, t("eraseText")), typed.root], first: typed.control, act, explain, danger: true });
    if (done) stage.say(t("erasureBegun", { tenant: label }));
    await stage.again();
    focusOn(stage, t("eraseTenant", { tenant: label }));
  }
}

interface Invited {
  readonly invitationCode: string;
  readonly invitationExpireTime?: Timestamp | undefined;
}

function idOf({ name }: Tenant): string {
  return name.replace(/^tenants\//, "");
}

function labelOf(tenant: Tenant): string {
  return cleanName(tenant.displayName.trim()) || idOf(tenant);
}

/** What an erasure has erased so far, such as "2 users deleted, 40 other records deleted". */
function erasedText(counts: Readonly<Record<string, bigint>>): string {
  const others = Object.entries(counts).reduce((sum, [kind, number]) => (Object.hasOwn(ERASED, kind) ? sum : sum + Number(number)), 0);
  const named = Object.entries(ERASED).flatMap(([kind, key]) => (counts[kind] ? [counted(key, { count: Number(counts[kind]) })] : []));
  return [...named, ...(others > 0 ? [counted("deletedOthers", { count: others })] : [])].join(", ");
}
