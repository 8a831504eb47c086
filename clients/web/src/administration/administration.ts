/** The administration of the tenant, for its administrators. */

import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import { People } from "../server/people.js";
import { t } from "../language/administration/texts.js";
import { element, mixed } from "../widgets/dom.js";
import { lazily, TabbedView, type PartGroup, type PartRow } from "../widgets/tabbed.js";
import { viewFragment } from "../widgets/views.js";
import type { MattersHooks } from "../operators/matters.js";
import type { UsersHooks } from "./useracts.js";

/** Each row is a tab. The browser loads the code of a tab when the tab is first shown. Owners of the installation alone see the model, the programs and the tenants. */
export function administrationView(api: Pick<Api, "admin" | "auth" | "chat" | "knowledge" | "operations">, hooks: UsersHooks & MattersHooks & { readonly me: User }): TabbedView {
  const people = new People(api);
  const owns = hooks.me.ownsInstallation;
  const matters = async () => new (await import("../operators/matters.js")).Matters(api, people, hooks);
  const model: PartRow = ["model", t("model"), lazily(async () => (await import("./model.js")).modelView(api, hooks.me, hooks.say))];
  const agents: PartRow = ["agents", t("agents"), lazily(async () => new (await import("../operators/agents.js")).AgentsView(api, hooks.me, hooks.say))];
  const inbox: PartRow = ["inbox", t("inbox"), lazily(async () => new (await import("../operators/inbox.js")).InboxView(api, await matters(), hooks.me, hooks.say))];
  const programs: PartRow = ["programs", t("programs"), lazily(async () => (await import("./programs.js")).programsView(api, hooks.say))];
  const tenants: PartRow = ["tenants", t("tenants"), lazily(async () => (await import("./tenants.js")).tenantsView(api, hooks.me, hooks.say))];
  const groups: readonly [PartGroup, ...PartGroup[]] = [
    ["people", t("people"), [
      ["users", t("users"), lazily(async () => new (await import("./users.js")).UsersView(api, people, hooks))],
      ["sessions", t("sessions"), lazily(async () => (await import("./tenantsessions.js")).tenantSessionsView(api, people, hooks.me, hooks.say))],
    ]],
    ["answers", t("answers"), owns ? [model, agents, inbox] : [agents, inbox]],
    ["content", t("content"), [
      ["sources", t("sources"), lazily(async () => new (await import("./sources.js")).SourcesView(api, hooks.say))],
      ["collections", t("collections"), lazily(async () => (await import("./tenantcollections.js")).tenantCollectionsView(api, hooks.me, hooks.say))],
    ]],
    ["system", t("system"), [
      ["overview", t("overview"), lazily(async () => new (await import("../operators/overview.js")).OverviewView(api, await matters()))],
      ["keys", t("apiKeys"), lazily(async () => (await import("../account/keys.js")).tenantKeysView(api, people, hooks.me, hooks.say))],
      ["audit", t("auditLog"), lazily(async () => new (await import("./audit.js")).AuditView(api, people))],
      ...(owns ? [programs, tenants] : []),
    ]],
  ];
  const view = new TabbedView("administration", t("administration"), groups, lazily(async () => (await import("./firststeps.js")).firstSteps(api, owns)));
  if (!hooks.me.email) {
    const first = element("a", { href: viewFragment({ area: "profile", tab: "password", query: {} }) }, t("setEmailAndPassword"));
    view.notice.append(...mixed(t("setWithin", { link: "\0" }), first));
  }
  return view;
}
