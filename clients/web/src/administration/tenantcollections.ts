/** Lists the collections of the tenant for administrators: how many documents each has, and who reads it. */

import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { accessText, labelsOf } from "../documents/access.js";
import { Contacts } from "../documents/contacts.js";
import { labelOf } from "../documents/library.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import { element } from "../widgets/dom.js";
import { ResourceList } from "../widgets/resourcelist.js";

export function tenantCollectionsView(api: Pick<Api, "admin" | "knowledge">, me: User, say: (text: string) => void) {
  const contacts = new Contacts(api, me);
  return new ResourceList({
    label: t("collections"),
    about: [t("collectionsAbout")],
    add: () => [element("a", { href: "#/documents", class: "button" }, t("openDocuments"))],
    list: (asked) => api.knowledge.listCollections(asked),
    items: ({ collections }) => Promise.all(collections.map(async (one) => ({ collection: one, access: accessText(me, one, await labelsOf(one, contacts)) }))),
    row: ({ collection, access }) => ({ name: labelOf(collection), facts: [t("documentCount", { count: Number(collection.documentCount) }), access] }),
    empty: t("noCollections"),
    say,
  });
}
