/** Signs in: exchanges the single-use code in the URL's fragment for a cookie that scripts cannot read. */

import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "./api.js";
import { failureOf, failureOfJson, signedOut } from "./errors.js";

/** Take the code out of the address bar and the history, even if the code is not valid. */
export function takeCode(place: Pick<Location, "hash" | "pathname" | "search">, history: Pick<History, "replaceState">): string | undefined {
  const code = new URLSearchParams(place.hash.replace(/^#/, "")).get("code") ?? undefined;
  if (code !== undefined) history.replaceState(null, "", place.pathname + place.search);
  return code;
}

export type SignIn =
  | { readonly user: User }
  /** `cut` says whether trying again can help, for example because the server could not be reached. */
  | { readonly problem: string; readonly cut: boolean };

/** Exchange the code, if there is one, and return the signed-in user. If the code is not valid, a user who is already signed in stays signed in. */
export async function signIn(api: Pick<Api, "auth">, code: string | undefined, ask: typeof fetch = fetch): Promise<SignIn> {
  const refused = code === undefined ? "" : await exchange(code, ask);
  try {
    return { user: await api.auth.getMe({}) };
  } catch (error) {
    const failure = failureOf(error);
    if (signedOut(failure)) return { problem: refused || "You are not signed in.", cut: false };
    return { problem: failure.reason === "" ? "Responsa cannot be reached." : failure.message, cut: true };
  }
}

/** Returns "" or the reason why the server refused the code. */
async function exchange(code: string, ask: typeof fetch): Promise<string> {
  try {
    const response = await ask("/v1/sessions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ code }),
    });
    const body = await response.text(); // an unread body would occupy one of the browser's six connections
    if (response.ok) return "";
    const failure = failureOfJson(body);
    return failure.reason === "SESSION_CODE_INVALID" || failure.reason === "" ? "This link has already been used or has expired." : failure.message;
  } catch {
    return "Responsa could not be reached to sign you in. You can try this link again.";
  }
}

/** End the session. Raises TypeError if the server could not be reached. */
export async function signOut(): Promise<void> {
  await (await fetch("/v1/sessions", { method: "DELETE" })).text();
}
