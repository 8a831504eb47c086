/** The OpenID Connect providers with which the user signs in: lists, links and unlinks them. */

import type { Identity, OidcProvider } from "@responsa/contract/responsa/auth/v1/sign_in_pb.js";
import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { withWait } from "../server/errors.js";
import { t } from "../language/account/texts.js";
import { moment } from "../text/facts.js";
import { actButton, ResourceList } from "../widgets/resourcelist.js";
import { recently, signedInAgain } from "./recent.js";
import { beginWith, comesToLink, confirmLink, goesToLink } from "./session.js";
import { noted, type Part } from "../widgets/tabbed.js";

/** The parts of the address that tell the page which provider the browser comes back from, and, from the server, what the user's session must confirm. */
const LINKED = "linked";
const LINK = "link";

export function linkingPart(api: Pick<Api, "auth">, user: User, say: (text: string) => void): Part {
  const done = element("p", { class: "done good", role: "status", hidden: true });
  const problem = element("p", { class: "problem", role: "alert" });
  const buttons = element("div", { class: "row wrap" });
  let providers: readonly OidcProvider[] = [];
  const list = new ResourceList({
    label: t("otherWays"),
    heading: "h3",
    about: [t("linkingAbout")],
    list: async () => ({ ...(await api.auth.listIdentities({})), nextPageToken: "" }),
    items: ({ identities }) => identities,
    row: ({ name, provider: linked, issuer, sub, createTime, signInTime }: Identity, stage) => {
      const provider = providers.find((one) => one.name === linked)?.displayName ?? issuer;
      const unlink = {
        label: t("unlink"),
        name: t("unlinkProvider", { provider }),
        ask: { title: t("unlinkTitle", { provider }), text: t("unlinkText", { provider }) },
        does: () => recently(api, user, () => api.auth.unlinkIdentity({ name })),
        said: t("unlinked"),
      };
      return { name: provider, facts: [sub, createTime && t("linkedAt", { time: moment(createTime) }), signInTime && t("lastUsed", { time: moment(signInTime) }), !linked && t("noLongerOffered")], acts: [actButton(stage, unlink)] };
    },
    empty: t("notLinked"),
    say,
  });
  const root = element("div", { class: "part", hidden: true }, list.root, done, problem, buttons);

  /** Another page can send the browser here with a link that another user has begun, so this tab confirms only its own. */
  const confirm = async ({ name, displayName: provider }: OidcProvider, link: string) => {
    noted({ area: "profile", tab: "password", query: {} }); // a reload does not try again
    if (!comesToLink(sessionStorage, name)) {
      problem.textContent = t("nothingLinked", { provider });
      return;
    }
    const failure = await confirmLink(name, link, user.name);
    if (failure) problem.textContent = withWait(failure);
    done.hidden = failure !== undefined;
    done.textContent = t("nowLinked", { provider });
  };
  /** Go to the provider, which sends the browser back. If that fails, the server's own page says why. */
  const link = async ({ name }: OidcProvider) => {
    const id = name.replace(/^oidcProviders\//, "");
    const begin = () => beginWith(name, `${location.pathname}${location.search}#/profile/password?${LINKED}=${id}`, { link: user.name });
    problem.textContent = "";
    let found = await begin();
    if (!(found instanceof URL) && found.reason === "SIGN_IN_REQUIRED" && (await signedInAgain(api, user))) found = await begin();
    if (found instanceof URL) {
      goesToLink(sessionStorage, name);
      location.assign(found);
    } else problem.textContent = withWait(found);
  };
  const show = async (query: Readonly<Record<string, string>>) => {
    problem.textContent = "";
    // Without the list, nothing is offered; the password works all the same.
    providers = await api.auth.listSignInMethods({ tenant: user.tenant }).then((found) => found.oidcProviders, () => []);
    root.hidden = providers.length === 0;
    if (root.hidden) return;
    const linked = providers.find((one) => one.name === `oidcProviders/${query[LINKED] ?? ""}`);
    done.hidden = true;
    if (linked && query[LINK]) await confirm(linked, query[LINK]);
    await list.again();
    replace(buttons, ...providers.map((one) => button(t("linkTo", { provider: one.displayName }), () => void link(one), { class: "quiet", ...WRITTEN })));
  };
  return { root, show };
}
