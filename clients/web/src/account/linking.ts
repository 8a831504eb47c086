/** The OpenID Connect providers with which the user signs in: lists, links and unlinks them. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Identity, OidcProvider } from "@responsa/contract/responsa/auth/v1/sign_in_pb.js";
import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import { confirmed } from "../widgets/dialog.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf, withWait } from "../server/errors.js";
import { momentOf } from "../text/facts.js";
import { Listing } from "../widgets/listing.js";
import { recently, signedInAgain } from "./recent.js";
import { beginWith, comesToLink, confirmLink, goesToLink } from "./session.js";
import { noted, type Part } from "../widgets/tabbed.js";

/** The parts of the address that tell the page which provider the browser comes back from, and, from the server, what the user's session must confirm. */
const LINKED = "linked";
const LINK = "link";

export class LinkingPart implements Part {
  readonly root = element("section", { class: "part", "aria-labelledby": "linking-title", hidden: true });
  readonly #api: Pick<Api, "auth">;
  readonly #user: User;
  readonly #done = element("p", { class: "done good", role: "status", hidden: true });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #buttons = element("div", { class: "row wrap" });
  readonly #list: Listing<Identity>;
  #providers: readonly OidcProvider[] = [];

  constructor(api: Pick<Api, "auth">, user: User) {
    this.#api = api;
    this.#user = user;
    const about = element("p", { class: "note" }, "If you link your account to a provider, you can sign in with the provider as well as with your password.");
    this.#list = new Listing<Identity>({
      label: "Linked providers",
      read: async () => ({ items: (await api.auth.listIdentities({})).identities, next: "" }),
      row: (one) => this.#row(one),
      empty: () => "Your account is not linked to a provider.",
    });
    this.root.append(element("h3", { id: "linking-title", tabindex: "-1" }, "Other ways to sign in"), about, this.#done, this.#problem, this.#list.root, this.#buttons);
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    this.#problem.textContent = "";
    // Without the list, nothing is offered; the password works all the same.
    const providers = await this.#api.auth.listSignInMethods({ tenant: this.#user.tenant }).then((found) => found.oidcProviders, () => []);
    this.#providers = providers;
    this.root.hidden = providers.length === 0;
    if (providers.length === 0) return;
    const linked = providers.find((one) => one.name === `oidcProviders/${query[LINKED] ?? ""}`);
    this.#done.hidden = true;
    if (linked && query[LINK]) await this.#confirm(linked, query[LINK]);
    await this.#list.refresh();
    replace(this.#buttons, ...providers.map((one) => button(`Link to ${one.displayName}`, () => void this.#link(one), { class: "quiet", ...WRITTEN })));
  }

  /** Another page can send the browser here with a link that another user has begun, so this tab confirms only its own. */
  async #confirm({ name, displayName }: OidcProvider, link: string): Promise<void> {
    noted({ area: "profile", tab: "password", query: {} }); // a reload does not try again
    if (!comesToLink(sessionStorage, name)) {
      this.#problem.textContent = `Nothing was linked, because this tab did not begin it. To link your account, choose ${displayName} here.`;
      return;
    }
    const failure = await confirmLink(name, link, this.#user.name);
    if (failure) this.#problem.textContent = withWait(failure);
    this.#done.hidden = failure !== undefined;
    this.#done.textContent = `Your account is linked to ${displayName}. You can sign in with this provider from now on.`;
  }

  #label({ provider, issuer }: Identity): string {
    return this.#providers.find((one) => one.name === provider)?.displayName ?? issuer;
  }

  #row(one: Identity): HTMLElement {
    const label = this.#label(one);
    const moment = (what: string, time: Identity["createTime"]) => (time ? `${what} ${momentOf(timestampDate(time))}` : "");
    const facts = [one.sub, moment("linked", one.createTime), moment("last used", one.signInTime), one.provider ? "" : "no longer offered"].filter(Boolean).join(" · ");
    const about = element("div", { class: "about" }, element("span", { class: "name", ...WRITTEN }, label), element("p", { class: "note whole", ...WRITTEN }, facts));
    return element("li", {}, about, button("Unlink", () => void this.#unlink(one), { class: "plain danger", "aria-label": `Unlink ${label}` }));
  }

  async #unlink(one: Identity): Promise<void> {
    const label = this.#label(one);
    if (!(await confirmed({ title: `Unlink ${label}?`, text: `You can then no longer sign in with ${label}. Sessions go on.`, action: "Unlink" }))) return;
    try {
      await recently(this.#api, this.#user, () => this.#api.auth.unlinkIdentity({ name: one.name }));
    } catch (error) {
      return this.#list.refuse(failureOf(error).message);
    }
    await this.#list.refresh();
    this.root.querySelector("h3")?.focus();
  }

  /** Go to the provider, which sends the browser back. If that fails, the server's own page says why. */
  async #link({ name }: OidcProvider): Promise<void> {
    const id = name.replace(/^oidcProviders\//, "");
    const begin = () => beginWith(name, `${location.pathname}${location.search}#/profile/password?${LINKED}=${id}`, { link: this.#user.name });
    this.#problem.textContent = "";
    let found = await begin();
    if (!(found instanceof URL) && found.reason === "SIGN_IN_REQUIRED" && (await signedInAgain(this.#api, this.#user))) found = await begin();
    if (found instanceof URL) {
      goesToLink(sessionStorage, name);
      location.assign(found);
    } else this.#problem.textContent = withWait(found);
  }
}
