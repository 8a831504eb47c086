/** Acts that need a recent sign-in: asks for the password, signs in again, and repeats the act. */

import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { filled } from "./dialog.js";
import { element } from "./dom.js";
import { CUT, failureOf, withWait, type Failure } from "./errors.js";
import { passwordEntry, placed } from "./fields.js";
import { begin } from "./session.js";

/** Perform an act. If the server asks for a recent sign-in, ask for the user's password first, and perform the act again. Raises the act's error if the user cancels. */
export async function recently<T>(user: User, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    // A user without an address has no password; the server's message names the other ways.
    if (failureOf(error).reason !== "SIGN_IN_REQUIRED" || !user.email || !(await signedInAgain(user))) throw error;
    return act();
  }
}

class NotSignedIn extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

/** Ask for the password, and begin a new session of the same user in place of the present one. Resolves to whether this was done. */
function signedInAgain({ tenant, email }: User): Promise<boolean> {
  const password = passwordEntry("Password", "current-password");
  let failure: Failure = CUT;
  const act = async () => {
    const found = await begin({ tenant, email, password: password.control.value }, false);
    if (!found) return;
    failure = found;
    throw new NotSignedIn(found);
  };
  const explain = () => {
    if (failure.reason === "SIGN_IN_FAILED") password.refuse("The password is wrong.");
    const text = failure.reason === "SIGN_IN_FAILED" ? "" : failure.violations.length > 0 ? placed({ password }, failure) : withWait(failure);
    password.control.select();
    return Promise.resolve(text);
  };
  const about = element("p", {}, "This change needs a sign-in of the last ten minutes. Enter your password to go on.");
  return filled({ title: "Sign in again", action: "Sign in", fields: [about, password.root], first: password.control, act, explain });
}
