/** Shows owners of the installation the addresses of programs whose own registration was refused, and lets them allow these. */

import type { AskedProgram } from "@responsa/contract/responsa/admin/v1/program_pb.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import { moment } from "../text/facts.js";
import { nameWithin } from "../text/names.js";
import { actButton, badge, ResourceList } from "../widgets/resourcelist.js";
import type { Part } from "../widgets/tabbed.js";

export function programsView(api: Pick<Api, "admin">, say: (text: string) => void): Part {
  return new ResourceList({
    label: t("programsAsked"),
    heading: "h3",
    about: [t("programsAskedAbout")],
    list: (asked) => api.admin.listAskedPrograms(asked),
    items: ({ askedPrograms }) => askedPrograms,
    row: ({ name, displayName, redirectUri, allowed, askTime, etag }: AskedProgram, stage) => {
      const of = { name: nameWithin(displayName), address: redirectUri };
      const change = (now: boolean) => api.admin.updateAskedProgram({ askedProgram: { name, allowed: now, etag }, updateMask: { paths: ["allowed"] } });
      return {
        name: displayName,
        badges: allowed ? [badge(t("addressAllowed"), "good")] : [],
        facts: [redirectUri, t("lastAsked", { time: moment(askTime) })],
        acts: [
          allowed
            ? actButton(stage, { label: t("disallow"), name: t("disallowAddress", of), ask: { title: t("disallowTitle"), text: t("disallowText", of) }, does: () => change(false), said: t("addressDisallowed") })
            : actButton(stage, { label: t("allow"), name: t("allowAddress", of), ask: { title: t("allowTitle"), text: t("allowText", of) }, danger: false, does: () => change(true), said: t("addressIsAllowed") }),
          actButton(stage, { label: t("delete"), name: t("deleteAddress", of), ask: { title: t("deleteAddressTitle"), text: t("deleteAddressText", of) }, does: () => api.admin.deleteAskedProgram({ name, etag }), said: t("addressDeleted") }),
        ],
      };
    },
    empty: t("noProgramsAsked"),
    say,
  });
}
