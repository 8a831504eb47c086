/** Shows administrators the sessions of all users of the tenant, and ends them. */

import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { Session } from "@responsa/contract/responsa/auth/v1/session_pb.js";
import type { Api } from "../server/api.js";
import { confirmed } from "../widgets/dialog.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";
import { count, momentOf } from "../text/facts.js";
import { Listing } from "../widgets/listing.js";
import { oneOf, type Administrator, type People } from "../server/people.js";
import { PersonSearch } from "./personsearch.js";
import { noted, type Part } from "../widgets/tabbed.js";
import { deviceOf } from "../account/useragent.js";

const PAGE = 50;

export class TenantSessionsView implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin">;
  readonly #people: People;
  readonly #me: Administrator;
  readonly #say: (text: string) => void;
  readonly #user: PersonSearch;
  readonly #list: Listing<Session>;
  #labels: ReadonlyMap<string, string> = new Map();

  constructor(api: Pick<Api, "admin">, people: People, me: Administrator, say: (text: string) => void) {
    this.#api = api;
    this.#people = people;
    this.#me = me;
    this.#say = say;
    this.#user = new PersonSearch("User", people);
    this.#list = new Listing<Session>({
      label: "Sessions of all users",
      read: (pageToken) => this.#read(pageToken),
      row: (one) => this.#row(one),
      empty: () => (this.#user.sought ? "No session matches." : "No sessions."),
    });
    const form = element("form", { class: "search-form", role: "search", "aria-label": "Sessions" }, this.#user.entry.root, element("button", { type: "submit" }, "Find"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      noted({ area: "administration", tab: "sessions", query: { user: this.#user.sought } });
      void this.#list.refresh();
    });
    const about = element("p", { class: "note" }, "The devices and programs on which users are signed in. A user whose session has ended can sign in again; to keep a user out, disable the user.");
    this.root = element("div", { class: "stack" }, about, form, this.#list.root);
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    await this.#user.show(query["user"] ?? "");
    await this.#list.refresh();
  }

  async #read(pageToken: string) {
    const users = await this.#user.names();
    if (users?.length === 0) return { items: [], next: "" };
    const { sessions, nextPageToken } = await this.#api.admin.listTenantSessions({ pageSize: PAGE, pageToken, filter: users ? oneOf("user", users) : "" });
    this.#labels = new Map([...this.#labels, ...(await this.#people.labels(sessions.map((one) => one.user)))]);
    return { items: sessions, next: nextPageToken };
  }

  #row(session: Session): HTMLElement {
    const { address, userAgent, createTime, lastUseTime, current } = session;
    const [whose, device] = [this.#whose(session), deviceOf(userAgent)];
    const moment = (what: string, time: Timestamp | undefined) => (time ? `${what} ${momentOf(timestampDate(time))}` : "");
    const facts = [device, address, moment("last used", lastUseTime), moment("began", createTime)].filter(Boolean).join(" · ");
    const here = current ? [element("span", { class: "badge good" }, "this device")] : [];
    const about = element("div", { class: "about" }, element("span", { class: "name", ...WRITTEN }, whose), ...here, element("p", { class: "note whole", title: userAgent, ...WRITTEN }, facts));
    const end = current || !this.#people.mayChange(session.user, this.#me) ? [] : [button("End", () => void this.#end(session), { class: "plain danger", "aria-label": `End the session of ${whose} on ${device}` })];
    return element("li", {}, about, ...end);
  }

  #whose({ user }: Session): string {
    return this.#labels.get(user) ?? user;
  }

  async #end(session: Session): Promise<void> {
    const [whose, device] = [this.#whose(session), deviceOf(session.userAgent)];
    const text = `${whose} is signed out on this device (${device}) at once, and can sign in again.`;
    if (!(await confirmed({ title: "End the session?", text, action: "End the session" }))) return;
    try {
      const { revokedCount } = await this.#api.admin.revokeTenantSessions({ names: [session.name] });
      this.#say(`${count(revokedCount, "session")} ended.`);
    } catch (error) {
      return this.#list.refuse(failureOf(error).message);
    }
    await this.#list.refresh();
    this.#user.entry.control.focus();
  }
}
