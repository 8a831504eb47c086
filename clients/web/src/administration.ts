/** The administration of the tenant, for its administrators. */

import type { Api } from "./api.js";
import { AuditView } from "./audit.js";
import { TenantKeysView } from "./keys.js";
import { People } from "./people.js";
import { TabbedView } from "./tabbed.js";
import { UsersView, type UsersHooks } from "./users.js";

/** Each row is a tab. */
export function administrationView(api: Pick<Api, "admin" | "auth">, hooks: UsersHooks): TabbedView {
  const people = new People(api);
  return new TabbedView("administration", "Administration", [
    ["users", "Users", new UsersView(api, people, hooks)],
    ["keys", "API keys", new TenantKeysView(api, people, hooks)],
    ["audit", "Audit log", new AuditView(api, people)],
  ]);
}
