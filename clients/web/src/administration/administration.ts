/** The administration of the tenant, for its administrators. */

import type { Api } from "../server/api.js";
import { TenantKeysView } from "../account/keys.js";
import { People } from "../server/people.js";
import { element } from "../widgets/dom.js";
import { lazily, TabbedView, type PartRow } from "../widgets/tabbed.js";
import { viewFragment } from "../widgets/views.js";
import type { MattersHooks } from "../operators/matters.js";
import type { UsersHooks } from "./useracts.js";

/** Each row is a tab. The browser loads the code of a tab when the tab is first shown. Owners of the installation alone see the model and the tenants. */
export function administrationView(api: Pick<Api, "admin" | "auth" | "chat" | "knowledge" | "operations">, hooks: UsersHooks & MattersHooks): TabbedView {
  const people = new People(api);
  const tenants: PartRow = ["tenants", "Tenants", lazily(async () => new (await import("./tenants.js")).TenantsView(api, hooks.me, hooks.say))];
  const matters = async () => new (await import("../operators/matters.js")).Matters(api, people, hooks);
  const model: PartRow = ["model", "Model", lazily(async () => new (await import("./model.js")).ModelView(api, hooks.me, hooks.say))];
  const view = new TabbedView("administration", "Administration", [
    ["overview", "Overview", lazily(async () => new (await import("../operators/overview.js")).OverviewView(api, await matters()))],
    ["inbox", "Inbox", lazily(async () => new (await import("../operators/inbox.js")).InboxView(api, await matters(), hooks.say))],
    ["agents", "Agents", lazily(async () => new (await import("../operators/agents.js")).AgentsView(api, hooks.me.ownsInstallation, hooks.say))],
    ["users", "Users", lazily(async () => new (await import("./users.js")).UsersView(api, people, hooks))],
    ["keys", "API keys", new TenantKeysView(api, people, hooks.me, hooks)],
    ["sessions", "Sessions", lazily(async () => new (await import("./tenantsessions.js")).TenantSessionsView(api, people, hooks.me, hooks.say))],
    ["sources", "Sources", lazily(async () => new (await import("./sources.js")).SourcesView(api, hooks.say))],
    ["audit", "Audit log", lazily(async () => new (await import("./audit.js")).AuditView(api, people))],
    ...(hooks.me.ownsInstallation ? [model, tenants] : []),
  ]);
  if (!hooks.me.email) {
    const first = element("a", { href: viewFragment({ area: "profile", tab: "password", query: {} }) }, "Set an e-mail address and a password");
    view.notice.append(first, " within ten minutes of your sign-in. Until then, only a link from the machine where Responsa runs signs you in.");
  }
  return view;
}
