/** Signing in: the single-use code of the URL's fragment is exchanged for a cookie that no script can read. */

import { failureOf } from "./errors.js";
import type { Api } from "./api.js";
import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";

/** Take the code out of the address bar and the history, whatever becomes of it. */
export function takeCode(place: Location, history: History): string | undefined {
  const code = new URLSearchParams(place.hash.replace(/^#/, "")).get("code") ?? undefined;
  if (code !== undefined) history.replaceState(null, "", place.pathname + place.search);
  return code;
}

export type SignIn = { readonly user: User } | { readonly problem: string };

export async function signIn(api: Api, code: string | undefined): Promise<SignIn> {
  let problem = "";
  if (code !== undefined) {
    const response = await fetch("/v1/sessions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ code }),
    });
    if (!response.ok) problem = "The link was used already or has expired.";
  }
  try {
    return { user: await api.auth.getMe({}) };
  } catch (error) {
    const failure = failureOf(error);
    if (failure.reason.startsWith("CREDENTIAL_")) return { problem: problem || "You are not signed in." };
    return { problem: failure.message };
  }
}

export async function signOut(): Promise<void> {
  await fetch("/v1/sessions", { method: "DELETE" });
}
