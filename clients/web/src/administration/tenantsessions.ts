/** Shows administrators the sessions of all users of the tenant, and ends them. */

import type { Session } from "@responsa/contract/responsa/auth/v1/session_pb.js";
import { deviceOf } from "../account/useragent.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import { oneOf, type Administrator, type People } from "../server/people.js";
import { moment } from "../text/facts.js";
import { actButton, badge, ResourceList } from "../widgets/resourcelist.js";
import type { Part } from "../widgets/tabbed.js";
import { PersonSearch } from "./personsearch.js";

export function tenantSessionsView(api: Pick<Api, "admin">, people: People, me: Administrator, say: (text: string) => void): Part {
  const user = new PersonSearch(t("user"), people);
  return new ResourceList({
    label: t("sessionsOfAll"),
    about: [t("tenantSessionsAbout")],
    tab: "sessions",
    filters: { user },
    list: async (asked) => {
      const users = await user.names();
      return users?.length === 0 ? undefined : api.admin.listTenantSessions({ ...asked, filter: users ? oneOf("user", users) : "" });
    },
    items: async ({ sessions }) => {
      await people.labels(sessions.map((one) => one.user));
      return sessions;
    },
    row: (session: Session, stage) => {
      const { address, userAgent, createTime, lastUseTime, current } = session;
      const [whose, device] = [people.known(session.user), deviceOf(userAgent)];
      const end = {
        label: t("end"),
        name: t("endSessionOf", { whose, device }),
        ask: { title: t("endSessionTitle"), text: t("endSessionText", { whose, device }), action: t("endSession") },
        does: () => api.admin.revokeTenantSessions({ names: [session.name] }),
        said: ({ revokedCount }: { readonly revokedCount: number }) => t("sessionsEnded", { count: revokedCount }),
      };
      return {
        name: whose,
        badges: current ? [badge(t("thisDevice"), "good")] : [],
        tip: userAgent,
        facts: [device, address, lastUseTime && t("lastUsed", { time: moment(lastUseTime) }), createTime && t("began", { time: moment(createTime) })],
        acts: current || !people.mayChange(session.user, me) ? [] : [actButton(stage, end)],
      };
    },
    empty: t("noSessions"),
    unmatched: t("noSessionMatches"),
    say,
  });
}
