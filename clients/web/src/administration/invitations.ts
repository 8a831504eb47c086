/** Lists the open invitations of the tenant, and revokes them. */

import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { Invitation } from "@responsa/contract/responsa/auth/v1/invitation_pb.js";
import type { Api } from "../server/api.js";
import { confirmed } from "../widgets/dialog.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";
import { momentOf } from "../text/facts.js";
import { Listing } from "../widgets/listing.js";
import { roleLabel, type People } from "../server/people.js";

const PAGE = 50;

export class Invitations {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "auth">;
  readonly #say: (text: string) => void;
  readonly #heading = element("h3", { id: "invitations-title", tabindex: "-1" }, "Open invitations");
  readonly #list: Listing<Invitation>;
  #labels: ReadonlyMap<string, string> = new Map();

  constructor(api: Pick<Api, "auth">, people: People, say: (text: string) => void) {
    this.#api = api;
    this.#say = say;
    this.#list = new Listing<Invitation>({
      label: "Open invitations",
      read: async (pageToken) => {
        const { invitations, nextPageToken } = await api.auth.listInvitations({ pageSize: PAGE, pageToken });
        this.#labels = new Map([...this.#labels, ...(await people.labels(invitations.map((one) => one.creator).filter(Boolean)))]);
        return { items: invitations, next: nextPageToken };
      },
      row: (one) => this.#row(one),
      empty: () => "No open invitations.",
    });
    this.root = element("section", { class: "stack", "aria-labelledby": "invitations-title" }, this.#heading, this.#list.root);
  }

  refresh(): Promise<void> {
    return this.#list.refresh();
  }

  #row(one: Invitation): HTMLElement {
    const whose = one.email || "Any address";
    const moment = (what: string, time: Timestamp | undefined) => (time ? `${what} ${momentOf(timestampDate(time))}` : "");
    const maker = one.creator ? `by ${this.#labels.get(one.creator) ?? one.creator}` : "by an owner of the installation";
    const facts = [roleLabel(one.role), maker, moment("made", one.createTime), moment("valid until", one.expireTime)].filter(Boolean).join(" · ");
    const about = element("div", { class: "about" }, element("span", { class: "name", ...WRITTEN }, whose), element("p", { class: "note whole", ...WRITTEN }, facts));
    return element("li", {}, about, button("Revoke", () => void this.#revoke(one), { class: "plain danger", "aria-label": `Revoke the invitation of ${whose}` }));
  }

  async #revoke({ name, email }: Invitation): Promise<void> {
    const text = `Nobody can register with the code of the invitation${email ? ` of ${email}` : ""} any more.`;
    if (!(await confirmed({ title: "Revoke the invitation?", text, action: "Revoke" }))) return;
    try {
      await this.#api.auth.revokeInvitation({ name });
    } catch (error) {
      return this.#list.refuse(failureOf(error).message);
    }
    this.#say("Invitation revoked.");
    await this.#list.refresh();
    this.#heading.focus();
  }
}
