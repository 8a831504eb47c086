/** Acts that need a recent sign-in: lets the user sign in again, and repeats the act. */

import { timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import { filled } from "../widgets/dialog.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { CUT, failureOf, withWait, type Failure } from "../server/errors.js";
import { passwordEntry, placed } from "../widgets/fields.js";
import { t as words } from "../language/account/texts.js";
import { t } from "../language/language.js";
import { begin, beginWith } from "./session.js";

const RECENT = 600_000; // milliseconds for which the server counts a sign-in as recent

/** Whether a sign-in at this time counts as recent. */
export function isRecent(time: Timestamp | undefined, now: number): boolean {
  return time !== undefined && now - timestampMs(time) < RECENT;
}

/** Perform an act. If the server asks for a recent sign-in, the user signs in again first, and the act is performed again. Raises the act's error if the user cancels. */
export async function recently<T>(api: Pick<Api, "auth">, user: Pick<User, "tenant" | "email">, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (failureOf(error).reason !== "SIGN_IN_REQUIRED" || !(await signedInAgain(api, user))) throw error;
    return act();
  }
}

class NotSignedIn extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

/**
 * Ask for the password, and begin a new session of the same user in place of the present one. Resolves to whether this was done. The dialog also offers the tenant's
 * OpenID Connect providers; after a sign-in with one of them the browser comes back to the same view, and the user begins the act again.
 */
export async function signedInAgain(api: Pick<Api, "auth">, { tenant, email }: Pick<User, "tenant" | "email">): Promise<boolean> {
  if (!email) return false; // a user without an address has no password; the server's message names the other ways
  const password = passwordEntry(t("password"), "current-password");
  const others = element("div", { class: "row wrap", hidden: true });
  const problem = element("p", { class: "problem", role: "alert" });
  const go = async (provider: string) => {
    const found = await beginWith(provider, `${location.pathname}${location.search}${location.hash}`, {});
    if (found instanceof URL) location.assign(found);
    else problem.textContent = withWait(found);
  };
  const offer = async () => {
    const { oidcProviders } = await api.auth.listSignInMethods({ tenant });
    replace(others, ...oidcProviders.map((one) => button(t("signInWith", { provider: one.displayName }), () => void go(one.name), { class: "quiet", ...WRITTEN })));
    others.hidden = oidcProviders.length === 0;
  };
  void offer().catch(() => undefined); // the password is enough
  let failure: Failure = CUT;
  const act = async () => {
    const found = await begin({ tenant, email, password: password.control.value }, false);
    if (!found) return;
    failure = found;
    throw new NotSignedIn(found);
  };
  const explain = () => {
    if (failure.reason === "SIGN_IN_FAILED") password.refuse(words("wrongPassword"));
    const text = failure.reason === "SIGN_IN_FAILED" ? "" : failure.violations.length > 0 ? placed({ password }, failure) : withWait(failure);
    password.control.select();
    return Promise.resolve(text);
  };
  const about = element("p", {}, words("needsRecent"));
  return filled({ title: t("signInAgain"), action: t("signIn"), fields: [about, password.root, others, problem], first: password.control, act, explain });
}
