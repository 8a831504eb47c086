/** Shows owners of the installation the language model that agents use by default, tests another one, and stores it. Keys are named and never typed. */

import { ModelTestOutcome, type DefaultModel, type ModelProvider, type ModelSettings } from "@responsa/contract/responsa/admin/v1/model_settings_pb.js";
import { recently } from "../account/recent.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import type { Administrator } from "../server/people.js";
import { t } from "../language/administration/texts.js";
import { button, element, mixed, replace, WRITTEN } from "../widgets/dom.js";
import { choiceEntry, Entry, lacking, placed, textEntry } from "../widgets/fields.js";
import { moment } from "../widgets/resourcelist.js";
import type { Part } from "../widgets/tabbed.js";

const PLAIN = { spellcheck: "false", autocapitalize: "none" } as const;

type Field = "provider" | "model" | "key_name" | "base_url";

export class ModelView implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin" | "auth">;
  readonly #me: Administrator;
  readonly #say: (text: string) => void;
  readonly #state = element("div", { class: "stack", "aria-live": "polite" });
  readonly #form = element("form", { class: "sheet narrow", novalidate: true, "aria-label": t("defaultModel") });
  readonly #result = element("p", { role: "status" });
  #providers: readonly ModelProvider[] = [];
  #entries: Readonly<Record<Field, Entry>> | undefined;

  constructor(api: Pick<Api, "admin" | "auth">, me: Administrator, say: (text: string) => void) {
    this.#api = api;
    this.#me = me;
    this.#say = say;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#act(t("saving"), () => this.#save());
    });
    this.root = element("div", { class: "stack" }, this.#state, this.#form);
  }

  async show(): Promise<void> {
    try {
      this.#draw(await this.#api.admin.getModels({}));
    } catch (error) {
      replace(this.#state, element("p", { class: "problem", role: "alert" }, failureOf(error).message));
      this.#form.hidden = true;
    }
  }

  #draw(found: ModelSettings): void {
    const { models, fixedBy, problem, warning, updateTime } = found;
    const since = updateTime && !fixedBy ? [" ", element("span", { class: "note" }, t("modelSince", { time: moment(updateTime) }))] : [];
    const inUse = models.length > 0
      ? element("p", {}, ...mixed(t("modelInUse", { model: "\0" }), element("strong", WRITTEN, models.join(t("thenModel")))), ...since)
      : element("p", {}, t("noModelInUse"));
    const fixed = element("p", { class: "access" }, ...mixed(t("modelFixed", { setting: "\0" }), element("code", {}, fixedBy)));
    replace(this.#state, inUse, ...[problem, warning].filter(Boolean).map((one) => element("p", { class: "warning", ...WRITTEN }, one)), ...(fixedBy ? [fixed] : []));
    this.#form.hidden = fixedBy !== "";
    this.#providers = found.providers;
    this.#fill(found.defaultModel);
  }

  /** Draw the fields that the provider takes. */
  #fill(now: Partial<Pick<DefaultModel, "provider" | "model" | "keyName" | "baseUrl">> = {}): void {
    const chosen = this.#providers.find((one) => one.name === now.provider);
    const provider = choiceEntry(t("provider"), [["", t("noProvider")], ...this.#providers.map((one) => [one.name, one.displayName] as const)]);
    provider.control.value = chosen?.name ?? "";
    provider.control.addEventListener("change", () => {
      replace(this.#result);
      this.#fill({ provider: provider.control.value });
      this.#entries?.provider.control.focus();
    });
    const known = (chosen?.models ?? []).map((one) => [one, one] as const);
    const model = known.length > 0 ? choiceEntry(t("model"), known) : textEntry(t("model"), { required: true, maxlength: "200", ...PLAIN }, t("modelNote"));
    if (now.model) model.control.value = now.model;
    const own = chosen?.keyName ?? "";
    const usual = own ? t(chosen?.keyFound ? "keyFound" : "keyMissing", { key: own }) : t("keyNone");
    const key = textEntry(t("keyName"), { maxlength: "64", placeholder: own, ...PLAIN }, `${usual} ${t("keyNameNote")}`);
    key.control.value = now.keyName ?? "";
    const url = textEntry(t("baseUrl"), { required: true, inputmode: "url", maxlength: "2048", placeholder: "http://127.0.0.1:11434/v1", ...PLAIN }, t("baseUrlNote"));
    url.control.value = now.baseUrl ?? "";
    this.#entries = { provider, model, key_name: key, base_url: url };
    const fields = [provider, ...(chosen ? [...(chosen.takesBaseUrl ? [url] : []), model, ...(chosen.takesKeyName ? [key] : [])] : [])];
    const address = chosen && !chosen.takesBaseUrl && chosen.baseUrl ? [element("p", { class: "note" }, t("sentTo", { url: chosen.baseUrl }))] : [];
    const test = button(t("test"), () => void this.#act(t("askingModel"), () => this.#test()), { class: "quiet" });
    replace(this.#form, ...fields.map((one) => one.root), ...address, element("div", { class: "row wrap" }, element("button", { type: "submit" }, t("save")), ...(chosen ? [test] : [])), this.#result);
  }

  get #wanted(): Pick<DefaultModel, "provider" | "model" | "keyName" | "baseUrl"> {
    const value = (name: Field) => (this.#entries && this.#form.contains(this.#entries[name].root) ? this.#entries[name].control.value.trim() : "");
    return { provider: value("provider"), model: value("model"), keyName: value("key_name"), baseUrl: value("base_url") };
  }

  async #test(): Promise<void> {
    const { outcome, message } = await recently(this.#api, this.#me, () => this.#api.admin.testModel({ defaultModel: this.#wanted }));
    this.#tell(message, outcome === ModelTestOutcome.ANSWERED ? "badge good" : "problem");
  }

  async #save(): Promise<void> {
    const now = await recently(this.#api, this.#me, () => this.#api.admin.setDefaultModel({ defaultModel: this.#wanted }));
    this.#draw(now);
    this.#tell("");
    this.#say(t(now.models.length > 0 ? "modelSaved" : "passagesSaved"));
  }

  async #act(meanwhile: string, act: () => Promise<void>): Promise<void> {
    const entries = this.#entries;
    if (!entries || this.#form.hasAttribute("aria-busy") || lacking(Object.values(entries).filter((one) => this.#form.contains(one.root)))) return;
    this.#form.setAttribute("aria-busy", "true"); // a disabled button would lose the focus
    this.#tell(meanwhile, "note");
    try {
      await act();
    } catch (error) {
      const fields = Object.fromEntries(Object.entries(entries).map(([name, entry]) => [`default_model.${name}`, entry]));
      this.#tell(placed(fields, failureOf(error)), "problem");
    } finally {
      this.#form.removeAttribute("aria-busy");
    }
  }

  #tell(text: string, kind = "note"): void {
    this.#result.className = kind;
    this.#result.textContent = text;
  }
}
