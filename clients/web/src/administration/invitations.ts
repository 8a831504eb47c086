/** Lists the open invitations of the tenant, and revokes them. */

import type { Invitation } from "@responsa/contract/responsa/auth/v1/invitation_pb.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import { roleLabel, type People } from "../server/people.js";
import { moment } from "../text/facts.js";
import { groupChoices } from "./groups.js";
import { actButton, ResourceList } from "../widgets/resourcelist.js";

export function invitationsList(api: Pick<Api, "admin" | "auth">, people: People, say: (text: string) => void) {
  let groups: ReadonlyMap<string, string> = new Map();
  return new ResourceList({
    label: t("openInvitations"),
    heading: "h3",
    list: (asked) => api.auth.listInvitations(asked),
    items: async ({ invitations }) => {
      if (invitations.some((one) => one.groups.length > 0)) groups = new Map(await groupChoices(api));
      await people.labels(invitations.map((one) => one.creator).filter(Boolean));
      return invitations;
    },
    row: ({ name, email, role, creator, createTime, expireTime, groups: joined }: Invitation, stage) => {
      const whose = email || t("anyAddress");
      return {
        name: whose,
        facts: [roleLabel(role), ...joined.map((one) => groups.get(one) ?? t("deletedGroup")), creator ? t("by", { person: people.known(creator) }) : t("byOwner"), createTime && t("made", { time: moment(createTime) }), expireTime && t("validUntil", { time: moment(expireTime) })],
        acts: [
          actButton(stage, {
            label: t("revoke"),
            name: t("revokeInvitation", { whose }),
            ask: { title: t("revokeInvitationTitle"), text: email ? t("revokeInvitationOf", { email }) : t("revokeInvitationText") },
            does: () => api.auth.revokeInvitation({ name }),
            said: t("invitationRevoked"),
          }),
        ],
      };
    },
    empty: t("noInvitations"),
    say,
  });
}
