/** The view of a visitor who is not signed in: sign in, register, confirm an e-mail address, or ask for a reset code and set a new password with it. */

import { isInClear, reachNotes } from "../widgets/reach.js";
import { Registration, type OidcProvider } from "@responsa/contract/responsa/auth/v1/sign_in_pb.js";
import type { Api } from "../server/api.js";
import { button, element, INSTALLATION, replace, WRITTEN } from "../widgets/dom.js";
import { CUT, failureOf, withWait, type Failure } from "../server/errors.js";
import { EMAIL, lacking, passwordEntry, passwordNote, placed, textEntry, type Entry } from "../widgets/fields.js";
import { replaces } from "./replaces.js";
import { askForReset, begin, beginWith, confirmEmail, goes, me, ofOther, onLoopback, type Secret } from "./session.js";
import { around, t } from "../language/language.js";

type Mode = "signIn" | "register" | "confirm" | "forgot" | "reset";

export interface SignInViewHooks {
  /** A session has begun; it is not known yet whether the page can be shown. */
  readonly began: () => void;
  /** Show the page to the user of the session. */
  readonly entered: () => void;
  /** Leave the view and show the page to the user who is signed in; undefined if nobody is. */
  readonly back: (() => void) | undefined;
}

const CODE = { required: true, maxlength: "64", spellcheck: "false", autocapitalize: "none", class: "secret" } as const;

export class SignInView {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "auth">;
  readonly #hooks: SignInViewHooks;
  readonly #heading = element("h1", { tabindex: "-1" }, element("span", { class: "mark" }), element("span", WRITTEN, INSTALLATION));
  readonly #alert = element("p", { role: "alert" });
  readonly #form = element("form", { class: "sheet", novalidate: true });
  readonly #others = element("div", { class: "row wrap ways" });
  readonly #tenant = textEntry(t("tenant"), { autocapitalize: "none", spellcheck: "false", maxlength: "71", autocomplete: "organization" }, t("tenantNote"));
  readonly #email = textEntry(t("email"), { ...EMAIL, autocomplete: "username", required: true });
  readonly #password = passwordEntry(t("password"), "current-password");
  readonly #newPassword = passwordEntry(t("newPassword"), "new-password", passwordNote());
  readonly #name = textEntry(t("name"), { autocomplete: "name" }, t("nameNote"));
  readonly #invitation = textEntry(t("invitation"), CODE);
  readonly #code = textEntry(t("resetCode"), CODE, t("resetCodeNote"));
  readonly #confirmation = textEntry(t("mailCode"), CODE, t("mailCodeNote"));
  readonly #known = passwordEntry(t("yourPassword"), "current-password", t("yourPasswordNote"));
  /** The command signs in the administrator of the first start, so it is nothing for a person who was invited. */
  readonly #command = element("p", { class: "note" }, ...around("commandNote", "command", element("code", {}, "responsa open")));
  #mode: Mode = "signIn";
  #registration = Registration.INVITED;
  #sendsMails = false;
  readonly #providers = element("div", { class: "providers", hidden: true });
  #busy = false;

  /** `why`: the reason why nobody is signed in. `secret`: a code that the address carried. `tenant`: the tenant that the address names, or "". */
  constructor(api: Pick<Api, "auth">, why: string, secret: Secret | undefined, tenant: string, hooks: SignInViewHooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.#known.control.required = false;
    this.#tenant.control.value = tenant;
    this.#tenant.root.hidden = !tenant;
    this.#alert.textContent = why;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    // Only a visitor on the machine where Responsa runs can run the command.
    this.root = element("main", { class: "signed-out" }, this.#heading, this.#alert, ...(isInClear(location) ? reachNotes() : []), this.#form, this.#providers, this.#others, ...(onLoopback(location.hostname) ? [this.#command] : []));
    this.#tenant.control.addEventListener("change", () => void this.#learn());
    if (secret?.kind === "invitation") {
      this.#invitation.control.value = secret.value;
      this.#invitation.root.hidden = true; // the link has it
      this.#email.control.value = secret.email;
    }
    if (secret?.kind === "reset") this.#code.control.value = secret.value;
    if (secret?.kind === "confirm") this.#confirmation.control.value = secret.value;
    this.#change(secret?.kind === "invitation" ? "register" : secret?.kind === "reset" || secret?.kind === "confirm" ? secret.kind : "signIn");
    void this.#learn();
  }

  /** Focus the heading, or the first empty field if the view does not report anything new. */
  focus(first: boolean): void {
    // On a touch screen, the focus would open a keyboard that hides half the page.
    if (first && window.matchMedia("(pointer: fine)").matches) this.#entries.find(({ control, root }) => !root.hidden && !control.value)?.control.focus();
    else this.#heading.focus();
  }

  /** Whether the user has not written anything yet. */
  get untouched(): boolean {
    return [this.#email, this.#password, this.#newPassword, this.#name, this.#invitation, this.#code, this.#confirmation, this.#known].every((one) => !one.control.value);
  }

  /** The fields of the mode, in their order. */
  get #entries(): readonly Entry[] {
    switch (this.#mode) {
      case "signIn":
        return [this.#tenant, this.#email, this.#password];
      case "register":
        return [...(this.#registration === Registration.OPEN ? [this.#tenant] : []), this.#invitation, this.#name, this.#email, this.#newPassword];
      case "forgot":
        return [this.#tenant, this.#email];
      case "confirm":
        return [this.#confirmation, this.#known];
      case "reset":
        return [this.#code, this.#newPassword];
    }
  }

  /** Ask for the tenant's providers, and who may register. Without an answer, an invitation is needed. */
  async #learn(): Promise<void> {
    const tenant = this.#tenant.control.value.trim();
    try {
      const { registration, oidcProviders, sendsMails } = await this.#api.auth.listSignInMethods({ tenant });
      if (tenant !== this.#tenant.control.value.trim()) return; // a later call asks for the other tenant
      replace(this.#providers, ...oidcProviders.map((one) => button(t("signInWith", { provider: one.displayName }), () => void this.#go(one), { class: "quiet" })));
      this.#providers.hidden = !this.#showsProviders || oidcProviders.length === 0;
      this.#sendsMails = sendsMails;
      if (registration === this.#registration) return;
      this.#registration = registration;
    } catch {
      return; // the server explains a registration that it refuses
    }
    this.#invitation.control.required = this.#registration !== Registration.OPEN;
    if (this.#mode === "register") this.#show();
    else this.#offer();
  }

  /** Go to a provider, which sends the browser back after the sign-in. The server learns only then who has come, when the page is gone, so the page asks now whether the session of a user who is signed in may end. */
  async #go({ name }: OidcProvider): Promise<void> {
    const invitation = this.#mode === "register" ? this.#invitation.control.value.trim() : "";
    const present = await me(this.#api);
    if (present && !(await replaces(present))) return this.#leave();
    const found = await beginWith(name, `${location.pathname}${location.search}${location.hash}`, { invitation, replace: present !== undefined });
    if (!(found instanceof URL)) return this.#refuse(found, {});
    goes(sessionStorage);
    location.assign(found);
  }

  get #showsProviders(): boolean {
    return this.#mode === "signIn" || this.#mode === "register";
  }

  #change(mode: Mode): void {
    this.#mode = mode;
    this.#command.hidden = mode === "register" || mode === "confirm";
    this.#providers.hidden = !this.#showsProviders || this.#providers.childElementCount === 0;
    for (const one of this.#entries) one.refuse("");
    this.#show();
  }

  #show(): void {
    const titles: Record<Mode, string> = { signIn: t("signIn"), register: t("register"), confirm: t("confirmEmail"), forgot: t("forgottenPassword"), reset: t("setNewPassword") };
    const actions: Partial<Record<Mode, string>> = { confirm: t("confirm"), forgot: t("sendMail"), reset: t("setPassword") };
    const before = document.activeElement;
    replace(
      this.#form,
      element("h2", {}, titles[this.#mode]),
      ...this.#entries.map((one) => one.root),
      element("div", { class: "row" }, element("button", { type: "submit" }, actions[this.#mode] ?? titles[this.#mode])),
    );
    if (before instanceof HTMLElement && this.#form.contains(before)) before.focus();
    this.#offer();
  }

  /** Offer the other ways. */
  #offer(): void {
    const ways: (readonly [string, () => void])[] = [];
    const turn = (mode: Mode) => () => {
      this.#alert.textContent = "";
      this.#change(mode);
      this.#entries.find((one) => !one.root.hidden)?.control.focus();
    };
    if (this.#mode !== "signIn") ways.push([t("withPassword"), turn("signIn")]);
    if (this.#mode !== "register" && this.#registration !== Registration.CLOSED) ways.push([this.#registration === Registration.OPEN ? t("register") : t("registerInvited"), turn("register")]);
    if (this.#mode === "register") ways.push([t("confirmCode"), turn("confirm")]);
    if (this.#mode === "forgot") ways.push([t("enterReset"), turn("reset")]);
    else ways.push([this.#mode === "reset" ? t("askForMail") : t("forgot"), turn("forgot")]);
    if ((this.#mode === "signIn" || this.#mode === "forgot") && this.#tenant.root.hidden) ways.push([t("anotherTenant"), () => this.#showTenant()]);
    const { back } = this.#hooks;
    if (back) ways.push([t("back"), back]);
    replace(this.#others, ...ways.map(([label, act]) => button(label, act)));
  }

  #showTenant(): void {
    this.#tenant.root.hidden = false;
    this.#offer();
    this.#tenant.control.focus();
  }

  async #submit(): Promise<void> {
    if (this.#busy) return;
    this.#alert.textContent = "";
    if (lacking(this.#entries)) return;
    this.#busy = true; // a disabled button would lose the focus
    this.#form.setAttribute("aria-busy", "true");
    try {
      if (this.#mode === "signIn") await this.#signIn(this.#password.control.value);
      else if (this.#mode === "register") await this.#register();
      else if (this.#mode === "confirm") await this.#confirm();
      else if (this.#mode === "forgot") await this.#forgot();
      else await this.#reset();
    } finally {
      this.#busy = false;
      this.#form.removeAttribute("aria-busy");
    }
  }

  async #signIn(password: string): Promise<void> {
    const tenant = this.#tenant.control.value.trim();
    const failure = await this.#begin(this.#email.control.value.trim(), password);
    if (failure) return this.#refuse(failure, { tenant: this.#tenant, email: this.#email, password: this.#password });
    // The next visit in this tab, or by a bookmark, needs the tenant again.
    const query = new URLSearchParams(location.search);
    if (tenant) query.set("tenant", tenant.replace(/^tenants\//, ""));
    else query.delete("tenant");
    history.replaceState(null, "", `${location.pathname}${query.size > 0 ? `?${query}` : ""}${location.hash}`);
  }

  /** Begin a session and leave the view. If another user is signed in and the session stays, leave the view too. */
  async #begin(email: string, password: string): Promise<Failure | undefined> {
    const credentials = { tenant: this.#tenant.control.value.trim(), email, password };
    let failure = await begin(credentials, false);
    if (failure && ofOther(failure)) {
      if (!(await replaces(await me(this.#api)))) {
        this.#leave();
        return undefined;
      }
      failure = await begin(credentials, true);
    }
    if (failure) return failure;
    this.#hooks.began();
    this.#leave();
    return undefined;
  }

  async #register(): Promise<void> {
    const [tenant, email, password] = [this.#tenant.control.value.trim(), this.#email.control.value.trim(), this.#newPassword.control.value];
    try {
      await this.#api.auth.register({ tenant, invitation: this.#invitation.control.value.trim(), email, password, displayName: this.#name.control.value.trim() });
    } catch (error) {
      const failure = failureOf(error);
      this.#invitation.root.hidden = false;
      if (failure.reason === "CODE_INVALID") return this.#refuseAt(this.#invitation, failure);
      return this.#refuse(failure, { tenant: this.#tenant, invitation: this.#invitation, display_name: this.#name, email: this.#email, password: this.#newPassword });
    }
    const before = t("passwordKept");
    if (!this.#sendsMails) return this.#enter(email, password, t("registered", { before }));
    // Before the confirmation, a sign-in would fail, and count as an attempt with a wrong password.
    this.#askToSignIn(email, t("registeredMail", { email, before }));
  }

  /** The visitor presses the button, because programs that look at the links in mails would use up the code. */
  async #confirm(): Promise<void> {
    let changed;
    try {
      changed = await confirmEmail(this.#api, this.#confirmation.control.value.trim(), this.#known.control.value);
    } catch (error) {
      const failure = failureOf(error);
      if (failure.reason === "SIGN_IN_FAILED") return this.#refuseAt(this.#known, failure);
      if (failure.reason !== "CODE_INVALID") return this.#refuse(failure, { code: this.#confirmation, password: this.#known });
      const message = t("codeUsed");
      return this.#refuseAt(this.#confirmation, { ...failure, message });
    }
    this.#forget();
    this.#change("signIn");
    if (!changed) {
      this.#alert.textContent = t("emailConfirmed");
      this.#email.control.focus();
      return;
    }
    // The session goes on, so nothing must be filled in.
    this.#alert.textContent = t("emailChanged", { email: changed.email });
    for (const one of [this.#form, this.#providers]) one.hidden = true;
    replace(this.#others, button(t("goOn"), this.#hooks.entered));
    this.#others.querySelector("button")?.focus();
  }

  async #forgot(): Promise<void> {
    const found = await askForReset(this.#api, this.#tenant.control.value.trim(), this.#email.control.value.trim());
    if (typeof found !== "string") return this.#refuse(found, { tenant: this.#tenant, email: this.#email });
    this.#change("reset");
    this.#alert.textContent = found;
    this.#code.control.focus();
  }

  async #reset(): Promise<void> {
    const password = this.#newPassword.control.value;
    try {
      await this.#api.auth.resetPassword({ code: this.#code.control.value.trim(), newPassword: password });
    } catch (error) {
      const failure = failureOf(error);
      if (failure.reason === "CODE_INVALID") return this.#refuseAt(this.#code, failure);
      return this.#refuse(failure, { code: this.#code, new_password: this.#newPassword });
    }
    this.#askToSignIn("", t("passwordIsSet"));
  }

  /** Sign in after a registration; if that is not possible, let the user sign in. The server does not say whether the account is new. */
  async #enter(email: string, password: string, otherwise: string): Promise<void> {
    if (await this.#begin(email, password)) this.#askToSignIn(email, otherwise);
  }

  /** Let the user sign in. `email`: the address, if the page knows it. */
  #askToSignIn(email: string, why: string): void {
    this.#forget();
    if (email) this.#email.control.value = email;
    this.#change("signIn");
    this.#alert.textContent = why;
    (email ? this.#password : this.#email).control.focus();
  }

  /** Show a failure at the fields that it names, or above the form. */
  #refuse(failure: Failure, entries: Readonly<Record<string, Entry>>): void {
    const text = failure === CUT || failure.reason === "" ? t("unreachableRetry") : placed(entries, failure);
    this.#alert.textContent = text;
    if (failure.reason !== "SIGN_IN_FAILED") return;
    this.#password.control.focus();
    this.#password.control.select();
  }

  #refuseAt(entry: Entry, failure: Failure): void {
    entry.refuse(withWait(failure));
    entry.control.focus();
  }

  /** Show the page to the user of the session. */
  #leave(): void {
    this.#forget();
    this.#hooks.entered();
  }

  /** Forget the secrets. */
  #forget(): void {
    for (const one of [this.#password, this.#newPassword, this.#invitation, this.#code, this.#confirmation, this.#known]) one.control.value = "";
    this.#invitation.root.hidden = false;
  }
}
