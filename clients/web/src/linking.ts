/** Links the user's account to OpenID Connect providers, so that the user can sign in with them. */

import type { OidcProvider } from "@responsa/contract/responsa/auth/v1/sign_in_pb.js";
import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "./api.js";
import { button, element, replace, WRITTEN } from "./dom.js";
import { withWait } from "./errors.js";
import { signedInAgain } from "./recent.js";
import { beginWith } from "./session.js";
import type { Part } from "./tabbed.js";

/** The part of the address that tells the page which provider the browser comes back from. */
const LINKED = "linked";

export class LinkingPart implements Part {
  readonly root = element("section", { class: "part", "aria-labelledby": "linking-title", hidden: true });
  readonly #api: Pick<Api, "auth">;
  readonly #user: User;
  readonly #done = element("p", { class: "done good", role: "status", hidden: true });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #buttons = element("div", { class: "row wrap" });

  constructor(api: Pick<Api, "auth">, user: User) {
    this.#api = api;
    this.#user = user;
    const about = element("p", { class: "note" }, "If you link your account to a provider, you can sign in with the provider as well as with your password.");
    this.root.append(element("h3", { id: "linking-title" }, "Other ways to sign in"), about, this.#done, this.#problem, this.#buttons);
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    this.#problem.textContent = "";
    // Without the list, nothing is offered; the password works all the same.
    const providers = await this.#api.auth.listSignInMethods({ tenant: this.#user.tenant }).then((found) => found.oidcProviders, () => []);
    this.root.hidden = providers.length === 0;
    replace(this.#buttons, ...providers.map((one) => button(`Link to ${one.displayName}`, () => void this.#link(one), { class: "quiet", ...WRITTEN })));
    const linked = providers.find((one) => one.name === `oidcProviders/${query[LINKED] ?? ""}`);
    this.#done.hidden = !linked;
    this.#done.textContent = linked ? `Your account is linked to ${linked.displayName}. You can sign in with it from now on.` : "";
  }

  /** Go to the provider, which sends the browser back. If that fails, the server's own page says why. */
  async #link({ name }: OidcProvider): Promise<void> {
    const id = name.replace(/^oidcProviders\//, "");
    const begin = () => beginWith(name, `${location.pathname}${location.search}#/profile/password?${LINKED}=${id}`, { link: true });
    this.#problem.textContent = "";
    let found = await begin();
    if (!(found instanceof URL) && found.reason === "SIGN_IN_REQUIRED" && (await signedInAgain(this.#api, this.#user))) found = await begin();
    if (found instanceof URL) location.assign(found);
    else this.#problem.textContent = withWait(found);
  }
}
