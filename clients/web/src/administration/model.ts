/** Shows owners of the installation the language model that agents use by default, tests another one, and stores it. Keys are named and never typed. */

import { ModelTestOutcome, type DefaultModel, type ModelProvider, type ModelSettings } from "@responsa/contract/responsa/admin/v1/model_settings_pb.js";
import { recently } from "../account/recent.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import type { Administrator } from "../server/people.js";
import { t } from "../language/administration/texts.js";
import { moment } from "../text/facts.js";
import { button, element, mixed, replace, WRITTEN } from "../widgets/dom.js";
import { choiceEntry, Entry, lacking, placed, textEntry } from "../widgets/fields.js";
import type { Part } from "../widgets/tabbed.js";

const PLAIN = { spellcheck: "false", autocapitalize: "none" } as const;

type Field = "provider" | "model" | "key_name" | "base_url";

export function modelView(api: Pick<Api, "admin" | "auth">, me: Administrator, say: (text: string) => void): Part {
  const state = element("div", { class: "stack", "aria-live": "polite" });
  const result = element("p", { role: "status" });
  const form = element("form", { class: "sheet narrow", novalidate: true, "aria-label": t("defaultModel") });
  let providers: readonly ModelProvider[] = [];
  let entries: Readonly<Record<Field, Entry>> | undefined;

  const tell = (text: string, kind = "note") => {
    result.className = kind;
    result.textContent = text;
  };
  const wanted = () => {
    const value = (name: Field) => (entries && form.contains(entries[name].root) ? entries[name].control.value.trim() : "");
    return { provider: value("provider"), model: value("model"), keyName: value("key_name"), baseUrl: value("base_url") };
  };
  const act = async (meanwhile: string, does: () => Promise<void>) => {
    const all = entries;
    if (!all || form.hasAttribute("aria-busy") || lacking(Object.values(all).filter((one) => form.contains(one.root)))) return;
    form.setAttribute("aria-busy", "true"); // a disabled button would lose the focus
    tell(meanwhile);
    try {
      await does();
    } catch (error) {
      tell(placed(Object.fromEntries(Object.entries(all).map(([name, entry]) => [`default_model.${name}`, entry])), failureOf(error)), "problem");
    } finally {
      form.removeAttribute("aria-busy");
    }
  };
  const test = async () => {
    const { outcome, message } = await recently(api, me, () => api.admin.testModel({ defaultModel: wanted() }));
    tell(message, outcome === ModelTestOutcome.ANSWERED ? "badge good" : "problem");
  };
  const save = async () => {
    const now = await recently(api, me, () => api.admin.setDefaultModel({ defaultModel: wanted() }));
    draw(now);
    tell("");
    say(t(now.models.length > 0 ? "modelSaved" : "passagesSaved"));
  };
  /** Draw the fields that the provider takes. */
  const fill = (now: Partial<Pick<DefaultModel, "provider" | "model" | "keyName" | "baseUrl">> = {}) => {
    const chosen = providers.find((one) => one.name === now.provider);
    const provider = choiceEntry(t("provider"), [["", t("noProvider")], ...providers.map((one) => [one.name, one.displayName] as const)]);
    provider.control.value = chosen?.name ?? "";
    provider.control.addEventListener("change", () => {
      tell("");
      fill({ provider: provider.control.value });
      entries?.provider.control.focus();
    });
    const known = (chosen?.models ?? []).map((one) => [one, one] as const);
    const model = known.length > 0 ? choiceEntry(t("model"), known) : textEntry(t("model"), { required: true, maxlength: "200", ...PLAIN }, t("modelNote"));
    if (now.model) model.control.value = now.model;
    const own = chosen?.keyName ?? "";
    const usual = own ? t(chosen?.keyFound ? "keyFound" : "keyMissing", { key: own }) : t("keyNone");
    const key = textEntry(t("nameOfKey"), { maxlength: "64", placeholder: own, ...PLAIN }, `${usual} ${t("keyNameNote")}`);
    key.control.value = now.keyName ?? "";
    const url = textEntry(t("address"), { required: true, inputmode: "url", maxlength: "2048", placeholder: "http://127.0.0.1:11434/v1", ...PLAIN }, t("baseUrlNote"));
    url.control.value = now.baseUrl ?? "";
    entries = { provider, model, key_name: key, base_url: url };
    const fields = [provider, ...(chosen ? [...(chosen.takesBaseUrl ? [url] : []), model, ...(chosen.takesKeyName ? [key] : [])] : [])];
    const address = chosen && !chosen.takesBaseUrl && chosen.baseUrl ? [element("p", { class: "note" }, t("sentTo", { url: chosen.baseUrl }))] : [];
    const buttons = [element("button", { type: "submit" }, t("save")), ...(chosen ? [button(t("test"), () => void act(t("askingModel"), test), { class: "quiet" })] : [])];
    replace(form, ...fields.map((one) => one.root), ...address, element("div", { class: "row wrap" }, ...buttons), result);
  };
  const draw = (found: ModelSettings) => {
    const { models, fixedBy, problem, warning, updateTime } = found;
    const since = updateTime && !fixedBy ? [" ", element("span", { class: "note" }, t("modelSince", { time: moment(updateTime) }))] : [];
    const inUse = models.length > 0
      ? element("p", {}, ...mixed(t("modelInUse", { model: "\0" }), element("strong", WRITTEN, models.join(t("thenModel")))), ...since)
      : element("p", {}, t("noModelInUse"));
    const fixed = element("p", { class: "access" }, ...mixed(t("modelFixed", { setting: "\0" }), element("code", {}, fixedBy)));
    replace(state, inUse, ...[problem, warning].filter(Boolean).map((one) => element("p", { class: "warning", ...WRITTEN }, one)), ...(fixedBy ? [fixed] : []));
    form.hidden = fixedBy !== "";
    providers = found.providers;
    fill(found.defaultModel);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void act(t("saving"), save);
  });
  const show = async () => {
    try {
      draw(await api.admin.getModels({}));
    } catch (error) {
      replace(state, element("p", { class: "problem", role: "alert" }, failureOf(error).message));
      form.hidden = true;
    }
  };
  return { root: element("div", { class: "stack" }, state, form), show };
}
