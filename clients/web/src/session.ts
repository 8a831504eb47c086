/** Signing in: the single-use code of the URL's fragment is exchanged for a cookie that no script can read. */

import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "./api.js";
import { failureOf, failureOfJson, signedOut } from "./errors.js";

/** Take the code out of the address bar and the history, whatever becomes of it. */
export function takeCode(place: Pick<Location, "hash" | "pathname" | "search">, history: Pick<History, "replaceState">): string | undefined {
  const code = new URLSearchParams(place.hash.replace(/^#/, "")).get("code") ?? undefined;
  if (code !== undefined) history.replaceState(null, "", place.pathname + place.search);
  return code;
}

export type SignIn =
  | { readonly user: User }
  /** `cut`: nobody could be asked; trying again can help. */
  | { readonly problem: string; readonly cut: boolean };

/** Exchange the code, if there is one, and tell who is signed in. Somebody who was signed in already stays so when the code is no good. */
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

/** Returns "" or why the code was refused. */
async function exchange(code: string, ask: typeof fetch): Promise<string> {
  try {
    const response = await ask("/v1/sessions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ code }),
    });
    const body = await response.text(); // what is not read keeps one of the browser's six connections
    if (response.ok) return "";
    const failure = failureOfJson(body);
    return failure.reason === "SESSION_CODE_INVALID" || failure.reason === "" ? "This link was used already, or it has expired." : failure.message;
  } catch {
    return "Responsa could not be reached to sign in with this link; it may still be good.";
  }
}

/** End the session. Raises TypeError when nobody could be reached. */
export async function signOut(): Promise<void> {
  await (await fetch("/v1/sessions", { method: "DELETE" })).text();
}
