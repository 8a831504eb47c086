/** Shows API keys: the user's own, or those of all users of the tenant. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { ApiKey } from "@responsa/contract/responsa/auth/v1/api_key_pb.js";
import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { PersonSearch } from "../administration/personsearch.js";
import { t } from "../language/account/texts.js";
import type { Api } from "../server/api.js";
import { quoted } from "../server/filters.js";
import { oneOf, type Administrator, type People } from "../server/people.js";
import { moment } from "../text/facts.js";
import { cleanName, nameWithin } from "../text/names.js";
import { element, mixed } from "../widgets/dom.js";
import { textEntry } from "../widgets/fields.js";
import { actButton, badge, beginButton, ResourceList, type Row, type Stage } from "../widgets/resourcelist.js";
import type { Part } from "../widgets/tabbed.js";
import { viewFragment } from "../widgets/views.js";
import { newKey } from "./newkey.js";
import { recently } from "./recent.js";

type Say = (text: string) => void;

export function ownKeysView(api: Pick<Api, "auth">, user: User, say: Say): Part {
  const create = (stage: Stage) => newKey(stage, { narrower: user.role === UserRole.ADMIN, make: (wanted) => recently(api, user, () => api.auth.createApiKey(wanted)) });
  return new ResourceList({
    label: t("apiKeys"),
    about: [t("keysAbout")],
    add: (stage) => [beginButton(t("newKey"), () => create(stage))],
    list: (asked) => api.auth.listApiKeys(asked),
    items: ({ apiKeys }) => apiKeys,
    row: (key: ApiKey, stage) => keyRow(stage, key, "", () => api.auth.revokeApiKey({ name: key.name })),
    empty: t("noOwnKeys"),
    say,
  });
}

export function tenantKeysView(api: Pick<Api, "admin">, people: People, me: Administrator, say: Say): Part {
  const owner = new PersonSearch(t("owner"), people);
  const users = element("a", { href: viewFragment({ area: "administration", tab: "users", query: {} }) }, t("users"));
  const own = element("a", { href: viewFragment({ area: "profile", tab: "keys", query: {} }) }, t("yourProfile"));
  return new ResourceList({
    label: t("apiKeysOfAll"),
    about: mixed(t("tenantKeysAbout", { users: "\0", profile: "\0" }), users, own),
    tab: "keys",
    filters: { name: textEntry(t("nameOfKey"), { type: "search", maxlength: "200" }), owner },
    list: async (asked, { name }) => {
      const owners = await owner.names();
      if (owners?.length === 0) return undefined;
      return api.admin.listTenantApiKeys({ ...asked, filter: [name && `display_name:${quoted(name)}`, owners && oneOf("owner", owners)].filter(Boolean).join(" AND ") });
    },
    items: async ({ apiKeys }) => {
      await people.labels(apiKeys.map((one) => one.owner));
      return apiKeys;
    },
    row: (key: ApiKey, stage) => keyRow(stage, key, people.known(key.owner), people.mayChange(key.owner, me) && (() => api.admin.revokeTenantApiKey({ name: key.name }))),
    empty: t("noKeys"),
    unmatched: t("noKeyMatches"),
    say,
  });
}

/** The row of a key. `owner`: the text for its owner, or "" for the user's own keys. `revoke`: false if the user may not revoke the key. */
function keyRow(stage: Stage, key: ApiKey, owner: string, revoke: (() => Promise<unknown>) | false): Row {
  const { name, displayName, prefix, createTime, expireTime, revokeTime, parentKey, role, widget, agent } = key;
  const unread = Number(key.unreadCollections);
  const label = cleanName(displayName) || t("keyUnnamed");
  const expired = expireTime !== undefined && timestampDate(expireTime).getTime() <= Date.now();
  const time = moment(revokeTime ?? expireTime);
  const act = {
    label: t("revoke"),
    name: owner ? t("revokeKeyOf", { key: label, owner }) : t("revokeKey", { key: label }),
    ask: { title: t("revokeKeyTitle"), text: t("revokeKeyText", { key: nameWithin(displayName) || t("keyUnnamed") }) },
    said: t("keyRevoked"),
  };
  return {
    name: label,
    badges: [...(widget ? [badge(t("widgetBadge"))] : []), ...(revokeTime ? [badge(t("revoked"))] : expired ? [badge(t("expired"))] : [])],
    facts: [
      owner,
      t("keyBegins", { prefix }),
      createTime && t("created", { time: moment(createTime) }),
      revokeTime ? t("revokedAt", { time }) : !expireTime ? t("neverExpires") : expired ? t("expiredAt", { time }) : t("expiresAt", { time }),
      role === UserRole.USER && t("onlyUserRights"),
      parentKey && t("byOtherKey"),
      widget && name,
      widget && t("widgetAsks", { agent: agent || t("defaultAgent") }),
      unread > 0 && t("widgetUnread", { count: unread }),
    ],
    acts: revokeTime || expired || !revoke ? [] : [actButton(stage, { ...act, does: revoke })],
  };
}
