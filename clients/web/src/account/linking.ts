/** The OpenID Connect providers with which the user signs in: lists, links and unlinks them. */

import type { Identity, OidcProvider } from "@responsa/contract/responsa/auth/v1/sign_in_pb.js";
import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { withWait } from "../server/errors.js";
import { t } from "../language/account/texts.js";
import { actButton, moment, ResourceList, type Row, type Stage } from "../widgets/resourcelist.js";
import { recently, signedInAgain } from "./recent.js";
import { beginWith, comesToLink, confirmLink, goesToLink } from "./session.js";
import { noted, type Part } from "../widgets/tabbed.js";

/** The parts of the address that tell the page which provider the browser comes back from, and, from the server, what the user's session must confirm. */
const LINKED = "linked";
const LINK = "link";

export class LinkingPart implements Part {
  readonly root = element("div", { class: "part", hidden: true });
  readonly #api: Pick<Api, "auth">;
  readonly #user: User;
  readonly #done = element("p", { class: "done good", role: "status", hidden: true });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #buttons = element("div", { class: "row wrap" });
  readonly #list: Part;
  #providers: readonly OidcProvider[] = [];

  constructor(api: Pick<Api, "auth">, user: User, say: (text: string) => void) {
    this.#api = api;
    this.#user = user;
    this.#list = new ResourceList({
      label: t("otherWays"),
      heading: "h3",
      about: [t("linkingAbout")],
      list: async () => ({ ...(await api.auth.listIdentities({})), nextPageToken: "" }),
      items: ({ identities }) => identities,
      row: (one: Identity, stage) => this.#row(one, stage),
      empty: t("notLinked"),
      say,
    });
    this.root.append(this.#list.root, this.#done, this.#problem, this.#buttons);
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
    await this.#list.show({});
    replace(this.#buttons, ...providers.map((one) => button(t("linkTo", { provider: one.displayName }), () => void this.#link(one), { class: "quiet", ...WRITTEN })));
  }

  /** Another page can send the browser here with a link that another user has begun, so this tab confirms only its own. */
  async #confirm({ name, displayName }: OidcProvider, link: string): Promise<void> {
    noted({ area: "profile", tab: "password", query: {} }); // a reload does not try again
    if (!comesToLink(sessionStorage, name)) {
      this.#problem.textContent = t("nothingLinked", { provider: displayName });
      return;
    }
    const failure = await confirmLink(name, link, this.#user.name);
    if (failure) this.#problem.textContent = withWait(failure);
    this.#done.hidden = failure !== undefined;
    this.#done.textContent = t("nowLinked", { provider: displayName });
  }

  #row(one: Identity, stage: Stage): Row {
    const provider = this.#providers.find(({ name }) => name === one.provider)?.displayName ?? one.issuer;
    return {
      name: provider,
      facts: [one.sub, one.createTime && t("linkedAt", { time: moment(one.createTime) }), one.signInTime && t("lastUsed", { time: moment(one.signInTime) }), !one.provider && t("noLongerOffered")],
      acts: [
        actButton(stage, {
          label: t("unlink"),
          name: t("unlinkProvider", { provider }),
          ask: { title: t("unlinkTitle", { provider }), text: t("unlinkText", { provider }) },
          does: () => recently(this.#api, this.#user, () => this.#api.auth.unlinkIdentity({ name: one.name })),
          said: t("unlinked"),
        }),
      ],
    };
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
