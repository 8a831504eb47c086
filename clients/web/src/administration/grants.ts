/** Shows administrators for which users a service may act, and gives and takes these grants. */

import type { ServiceGrant } from "@responsa/contract/responsa/admin/v1/service_grant_pb.js";
import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import type { Failure } from "../server/errors.js";
import { quoted } from "../server/filters.js";
import { callName, usersWith, type People } from "../server/people.js";
import { moment } from "../text/facts.js";
import { filled } from "../widgets/dialog.js";
import { choiceEntry, placed } from "../widgets/fields.js";
import { PersonField } from "../widgets/person.js";
import { actButton, beginButton, ResourceList, type Stage } from "../widgets/resourcelist.js";

export function grantsList(api: Pick<Api, "admin">, people: People, service: User, say: (text: string) => void) {
  const called = callName(service);
  return new ResourceList({
    label: t("mayActFor"),
    heading: "h4",
    about: [t("grantsAbout")],
    add: (stage) => [beginButton(t("letAct"), () => create(api, service, stage))],
    list: (asked) => api.admin.listServiceGrants({ ...asked, filter: `service = ${quoted(service.name)}` }),
    items: async ({ serviceGrants }) => {
      await people.labels(serviceGrants.map(userOf));
      return serviceGrants;
    },
    row: (grant: ServiceGrant, stage) => {
      const whom = userOf(grant) ? people.known(userOf(grant)) : t("allWithRole");
      return {
        name: whom,
        facts: [grant.createTime && t("since", { time: moment(grant.createTime) })],
        acts: [
          actButton(stage, {
            label: t("takeBack"),
            name: t("takeBackFor", { whom }),
            ask: { title: t("takeBackTitle"), text: t("takeBackText", { service: called, whom }) },
            does: () => api.admin.deleteServiceGrant({ name: grant.name }),
            said: t("takenBack"),
          }),
        ],
      };
    },
    empty: t("noGrants"),
    say,
  });
}

async function create(api: Pick<Api, "admin">, service: User, stage: Stage): Promise<void> {
  const whom = choiceEntry(t("forWhom"), [
    ["one", t("oneUser")],
    ["all", t("allWithRoleLater")],
  ]);
  const person = new PersonField(t("user"), usersWith(api, "role = USER AND state = ACTIVE"), t("grantNote"));
  whom.control.addEventListener("change", () => (person.root.hidden = whom.control.value !== "one"));
  const act = async () => {
    const one = whom.control.value === "one" ? await person.chosen() : undefined;
    if (whom.control.value === "one" && !one) return false;
    const scope = one ? ({ case: "user", value: one.name } as const) : ({ case: "allUsers", value: true } as const);
    await api.admin.createServiceGrant({ serviceGrant: { service: service.name, scope } });
    return undefined;
  };
  const explain = (failure: Failure) => Promise.resolve(placed({ "service_grant.user": person }, failure));
  if (!(await filled({ title: t("letServiceAct", { service: callName(service) }), action: t("grant"), fields: [whom.root, person.root], first: whom.control, act, explain }))) return;
  stage.say(t("granted"));
  await stage.again();
}

/** The user of a grant, `users/{uuid}`; "" for all users. */
function userOf({ scope }: ServiceGrant): string {
  return scope.case === "user" ? scope.value : "";
}
