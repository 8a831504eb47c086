/** Begins and ends the browser's session. Its credential is a cookie that scripts cannot read. */

import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { USER, type Api } from "../server/api.js";
import { CUT, failureOf, failureOfJson, keptOut, signedOut, type Failure } from "../server/errors.js";
import { keep } from "../server/kept.js";
import { t } from "../language/language.js";

/** A secret that links to the page carry in the fragment, which browsers do not send: a sign-in code, the code of an invitation, a code that resets a password, or a code that confirms an e-mail address. */
export type SecretKind = "code" | "invitation" | "reset" | "confirm";
const SECRETS: readonly SecretKind[] = ["code", "invitation", "reset", "confirm"];

export interface Secret {
  readonly kind: SecretKind;
  readonly value: string;
  /** The address that an invitation names; "" for none. */
  readonly email: string;
}

/** The fields of a fragment. Links in mails have a slash before the first field: `#/confirm=…`. */
function fieldsOf(fragment: string): URLSearchParams {
  return new URLSearchParams(fragment.replace(/^#\/?/, ""));
}

/** Whether the fragment of an address has a secret. */
export function hasSecret(fragment: string): boolean {
  const found = fieldsOf(fragment);
  return SECRETS.some((one) => found.has(one));
}

/** Take the secret out of the address bar and the history, even if the secret is not valid. */
export function takeSecret(place: Pick<Location, "hash" | "pathname" | "search">, history: Pick<History, "replaceState">): Secret | undefined {
  const found = fieldsOf(place.hash);
  const kind = SECRETS.find((one) => found.has(one));
  if (kind === undefined) return undefined;
  history.replaceState(null, "", place.pathname + place.search);
  return { kind, value: found.get(kind)!, email: found.get("email") ?? "" };
}

/** What begins a session. An empty tenant is the server's default tenant. */
export type Credentials = { readonly code: string } | { readonly tenant: string; readonly email: string; readonly password: string };

/**
 * Begin a session, which replaces the browser's session. If that is the session of another user, `replace` must allow it; otherwise `ofOther` is true for the
 * failure, and nothing has changed. Returns undefined after success.
 */
export async function begin(credentials: Credentials, replace: boolean, ask: typeof fetch = fetch): Promise<Failure | undefined> {
  return failed(await sent(ask, "POST", "/v1/sessions", "", replace ? { ...credentials, replace } : credentials));
}

/** Make a call in the name of a user, or of nobody for "". Returns the body of the reply, or the failure. */
async function sent(ask: typeof fetch, method: "POST" | "DELETE", path: string, user: string, body?: object): Promise<string | Failure> {
  const headers = { ...(body && { "content-type": "application/json" }), ...(user && { [USER]: user }) };
  try {
    const response = await ask(path, { method, headers, ...(body && { body: JSON.stringify(body) }) });
    const text = await response.text(); // an unread body would occupy one of the browser's six connections
    return response.ok ? text : failureOfJson(text, response.status);
  } catch {
    return CUT;
  }
}

function failed(reply: string | Failure): Failure | undefined {
  return typeof reply === "string" ? undefined : reply;
}

function addressOf(provider: string, act: "start" | "link"): string {
  return `/v1/oidc/${encodeURIComponent(provider.replace(/^oidcProviders\//, ""))}:${act}`;
}

/** Whether a session did not begin because it would replace another user's session. */
export function ofOther({ reason, metadata }: Failure): boolean {
  return reason === "RESOURCE_ALREADY_EXISTS" && metadata["resource_type"] === "session";
}

/** What a sign-in with a provider is for. */
export interface Purpose {
  /** The code of an invitation. */
  readonly invitation?: string;
  /** Whether the session of another user may end. Otherwise, the sign-in fails at its end, when the server knows who has come. */
  readonly replace?: boolean;
  /** The user who is signed in, `users/{uuid}`, to link the person at the provider to this user, whose session goes on. */
  readonly link?: string;
}

/**
 * Begin a sign-in with an OpenID Connect provider, `oidcProviders/{id}`. Returns the provider's address, to which the browser must go, or the failure. `returnTo`: the
 * path, with its fragment, to which the browser comes back.
 */
export async function beginWith(provider: string, returnTo: string, { invitation = "", replace = false, link = "" }: Purpose, ask: typeof fetch = fetch): Promise<URL | Failure> {
  const wanted = { returnTo, ...(invitation && { invitation }), ...(replace && { replace }), ...(link && { link: true }) };
  const reply = await sent(ask, "POST", addressOf(provider, "start"), link, wanted);
  if (typeof reply !== "string") return reply;
  try {
    const address = new URL((JSON.parse(reply) as { authorizationUri: string }).authorizationUri);
    return address.protocol === "https:" || address.protocol === "http:" ? address : CUT; // never an address that runs a script
  } catch {
    return CUT;
  }
}

/** Confirm the link that a provider's reply has prepared, for the user for whom the page is drawn. Returns undefined after success. */
export async function confirmLink(provider: string, link: string, user: string, ask: typeof fetch = fetch): Promise<Failure | undefined> {
  return failed(await sent(ask, "POST", addressOf(provider, "link"), user, { link }));
}

/** What a program asks of a person: its name, whether an administrator has registered it, the hosts of its document ("" without one) and of the address to which the browser goes back, and what it may do. */
export interface Asked {
  readonly displayName: string;
  readonly vouched: boolean;
  readonly clientHost: string;
  readonly redirectHost: string;
  readonly loopback: boolean;
  readonly scopes: readonly string[];
  /** After how many days without use the connection ends. */
  readonly unusedDays: number;
}

/** The server's reply to a request of a program: what the program asks, or the address to which the browser goes, with the problem if the request is wrong. */
export interface Consent {
  readonly asked?: Asked;
  readonly redirectUri?: string;
  readonly problem?: string;
}

/** Read the request of a program that wants to be connected, or, with `allow`, decide on it, for the user for whom the page is drawn. */
export async function consent(user: string, request: string, allow?: boolean, ask: typeof fetch = fetch): Promise<Consent | Failure> {
  const reply = await sent(ask, "POST", `/oauth/consent/${request}`, user, allow === undefined ? {} : { allow });
  if (typeof reply !== "string") return reply;
  try {
    const found = JSON.parse(reply) as Asked & Consent;
    return found.redirectUri === undefined ? { asked: found } : found;
  } catch {
    return CUT;
  }
}

export type SignIn =
  | { readonly user: User }
  /** `problem` is "" if nothing went wrong. `cut` says whether trying again can help, for example because the server could not be reached. */
  | { readonly problem: string; readonly cut: boolean };

/** What `signIn` needs from the page. `replaces` asks the user whether the session of the user who is signed in may end. `began` is called as soon as a session has begun. */
export interface SignInHooks {
  readonly began: () => void;
  readonly replaces: (present: User | undefined) => Promise<boolean>;
  readonly ask?: typeof fetch;
}

/** Exchange the code, if there is one, and return the signed-in user. If the code is not valid, or the user keeps the session, a user who is already signed in stays signed in. */
export async function signIn(api: Pick<Api, "auth">, code: string | undefined, hooks: SignInHooks): Promise<SignIn> {
  const refused = code === undefined ? "" : await exchange(api, code, hooks);
  try {
    return { user: await api.auth.getMe({}) };
  } catch (error) {
    const failure = failureOf(error);
    if (keptOut(failure)) return { problem: failure.message, cut: false };
    if (signedOut(failure)) return { problem: refused, cut: false };
    return { problem: failure.reason === "" ? t("unreachable") : failure.message, cut: true };
  }
}

/** Returns "" or the reason why the server refused the code. */
async function exchange(api: Pick<Api, "auth">, code: string, { began, replaces, ask = fetch }: SignInHooks): Promise<string> {
  let failure = await begin({ code }, false, ask);
  if (failure && ofOther(failure)) {
    if (!(await replaces(await me(api)))) return "";
    failure = await begin({ code }, true, ask);
  }
  if (!failure) {
    began();
    return "";
  }
  if (failure === CUT) return t("linkUnreachable");
  return failure.reason === "SESSION_CODE_INVALID" ? t("linkUsed") : failure.message;
}

/** The user who is signed in; undefined if nobody is, or if this cannot be found out. */
export async function me(api: Pick<Api, "auth">): Promise<User | undefined> {
  try {
    return await api.auth.getMe({});
  } catch {
    return undefined;
  }
}

/** Confirm an e-mail address with the code of a mail, and with the password: that of the registration, or that of the account if the address is its new one. Returns the signed-in user if the user's address has changed; undefined if the address is that of another or a new account. Raises ConnectError. */
export async function confirmEmail(api: Pick<Api, "auth">, code: string, password: string): Promise<User | undefined> {
  const before = await me(api);
  await api.auth.confirmEmail({ code, password });
  const after = before && (await me(api));
  return after && after.name === before.name && after.email !== before.email ? after : undefined;
}

/** Ask for a mail with a reset code. Returns the text for the visitor, who goes on with the code, or the failure. The text does not depend on whether the account exists. */
export async function askForReset(api: Pick<Api, "auth">, tenant: string, email: string): Promise<string | Failure> {
  try {
    await api.auth.requestReset({ tenant, email });
  } catch (error) {
    const failure = failureOf(error);
    return failure.reason === "MAIL_NOT_CONFIGURED" ? t("sendsNoMails") : failure;
  }
  return t("mailUnderWay");
}

const OWNER = "responsa.user";

/** Whether what is in a tab's storage is another user's. */
export function isOthers(storage: Storage, user: string): boolean {
  return ![null, user].includes(storage.getItem(OWNER));
}

/** Make a tab's storage this user's: what another user left in it is deleted. Returns whether the tab was another user's. */
export function claim(storage: Storage, user: string): boolean {
  if (storage.getItem(OWNER) === user) return false;
  const others = isOthers(storage, user);
  storage.clear();
  keep(storage, OWNER, user);
  return others;
}

const GOING = "responsa.going";

/** Remember in the tab's storage that the visitor has gone to a provider to sign in here, whoever worked in this tab before. */
export function goes(storage: Storage): void {
  storage.setItem(GOING, "");
}

/** Whether the visitor comes from such a sign-in. It is forgotten at once. */
export function comesBack(storage: Storage): boolean {
  const went = storage.getItem(GOING) !== null;
  storage.removeItem(GOING);
  return went;
}

const LINKING = "responsa.linking";

/** Remember in the tab's storage that the user has gone to a provider to link it. No page of another port can write there, as it can write cookies. */
export function goesToLink(storage: Storage, provider: string): void {
  storage.setItem(LINKING, provider);
}

/** Whether the user comes from there. It is forgotten at once. */
export function comesToLink(storage: Storage, provider: string): boolean {
  const went = storage.getItem(LINKING) === provider;
  storage.removeItem(LINKING);
  return went;
}

/** End the user's session on the server. Returns undefined after success. */
export async function signOut(user: string, ask: typeof fetch = fetch): Promise<Failure | undefined> {
  return failed(await sent(ask, "DELETE", "/v1/sessions", user));
}

/** Whether a page from this host comes from the machine on which the browser runs. */
export function onLoopback(hostname: string): boolean {
  return /^(?:localhost|(?:.+\.)localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(hostname);
}
