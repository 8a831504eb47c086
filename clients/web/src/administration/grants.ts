/** Shows administrators for which users a service may act, and gives and takes these grants. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { ServiceGrant } from "@responsa/contract/responsa/admin/v1/service_grant_pb.js";
import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import { confirmed, filled } from "../widgets/dialog.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import { failureOf, type Failure } from "../server/errors.js";
import { momentOf } from "../text/facts.js";
import { choiceEntry, placed } from "../widgets/fields.js";
import { quoted } from "../server/filters.js";
import { Listing } from "../widgets/listing.js";
import { callName, type People } from "../server/people.js";
import { PersonField, usersWith } from "../widgets/person.js";

const PAGE = 50;
const ALL = "All users with the role User";

export class GrantsPart {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin">;
  readonly #service: User;
  readonly #say: (text: string) => void;
  readonly #add = button("Let it act for users", () => void this.#create(), { class: "quiet" });
  readonly #list: Listing<ServiceGrant>;
  #labels: ReadonlyMap<string, string> = new Map();

  constructor(api: Pick<Api, "admin">, people: People, service: User, say: (text: string) => void) {
    this.#api = api;
    this.#service = service;
    this.#say = say;
    this.#list = new Listing<ServiceGrant>({
      label: "May act for",
      read: async (pageToken) => {
        const { serviceGrants, nextPageToken } = await api.admin.listServiceGrants({ pageSize: PAGE, pageToken, filter: `service = ${quoted(service.name)}` });
        this.#labels = new Map([...this.#labels, ...(await people.labels(serviceGrants.map(userOf)))]);
        return { items: serviceGrants, next: nextPageToken };
      },
      row: (one) => this.#row(one),
      empty: () => "No users. The service can act only for itself.",
    });
    const about = element("p", { class: "note" }, "When a service acts for a user, it has the access and the limits of that user. The audit log names both the service and the user.");
    this.root = element("section", { class: "stack", "aria-label": "May act for" }, element("h4", {}, "May act for"), about, this.#list.root, element("div", { class: "row" }, this.#add));
  }

  async show(): Promise<void> {
    await this.#list.refresh();
  }

  #label(grant: ServiceGrant): string {
    return userOf(grant) ? (this.#labels.get(userOf(grant)) ?? userOf(grant)) : ALL;
  }

  #row(grant: ServiceGrant): HTMLElement {
    const label = this.#label(grant);
    const since = grant.createTime ? `since ${momentOf(timestampDate(grant.createTime))}` : "";
    const about = element("div", { class: "about" }, element("span", { class: "name", ...WRITTEN }, label), element("p", { class: "note whole" }, since));
    return element("li", {}, about, button("Take back", () => void this.#take(grant), { class: "plain danger", "aria-label": `Take back the grant for ${label}` }));
  }

  async #create(): Promise<void> {
    const whom = choiceEntry("For whom", [
      ["one", "One user"],
      ["all", `${ALL}, also those made later`],
    ]);
    const person = new PersonField("User", usersWith(this.#api, "role = USER AND state = ACTIVE"), "Type a part of the name or of the e-mail address. A service never acts for administrators.");
    whom.control.addEventListener("change", () => (person.root.hidden = whom.control.value !== "one"));
    const act = async () => {
      const one = whom.control.value === "one" ? await person.chosen() : undefined;
      if (whom.control.value === "one" && !one) return false;
      const scope = one ? ({ case: "user", value: one.name } as const) : ({ case: "allUsers", value: true } as const);
      await this.#api.admin.createServiceGrant({ serviceGrant: { service: this.#service.name, scope } });
      return undefined;
    };
    const explain = (failure: Failure) => Promise.resolve(placed({ "service_grant.user": person }, failure));
    const title = `Let ${callName(this.#service)} act for users`;
    if (await filled({ title, action: "Grant", fields: [whom.root, person.root], first: whom.control, act, explain })) {
      this.#say("Granted.");
      await this.#list.refresh();
    }
    this.#add.focus();
  }

  async #take(grant: ServiceGrant): Promise<void> {
    const text = `${callName(this.#service)} can no longer act for: ${this.#label(grant)}. The next call of the service for them fails, and open streams end. Running questions go on to their end.`;
    if (!(await confirmed({ title: "Take back the grant?", text, action: "Take back" }))) return;
    try {
      await this.#api.admin.deleteServiceGrant({ name: grant.name });
    } catch (error) {
      return this.#list.refuse(failureOf(error).message);
    }
    this.#say("Taken back.");
    await this.#list.refresh();
    this.#add.focus();
  }
}

/** The user of a grant, `users/{uuid}`; "" for all users. */
function userOf({ scope }: ServiceGrant): string {
  return scope.case === "user" ? scope.value : "";
}
