/** Shows owners of the installation the language model that agents use by default, tests another one, and stores it. A key that is entered goes to the server and is shown no more. */

import { ModelTestOutcome, type DefaultModel, type ModelProvider, type ModelSettings } from "@responsa/contract/responsa/admin/v1/model_settings_pb.js";
import { recently } from "../account/recent.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import type { Administrator } from "../server/people.js";
import { t, type Key } from "../language/administration/texts.js";
import { moment, money } from "../text/facts.js";
import { modelName } from "../text/names.js";
import { button, coded, element, mixed, renew, replace, WRITTEN } from "../widgets/dom.js";
import { boxEntry, choiceEntry, Entry, lacking, placed, textEntry } from "../widgets/fields.js";
import type { Part } from "../widgets/tabbed.js";
import { MONEY } from "./amounts.js";
import { offerReindexing } from "./reindexing.js";

const PLAIN = { spellcheck: "false", autocapitalize: "none" } as const;

type Field = "provider" | "model" | "judge" | "window" | "input_usd_micros" | "output_usd_micros" | "embedding" | "api_key" | "key_name" | "base_url";

/** The words for the steps of a test and for what is learned of a model, by their names in the contract. */
const STEPS: Readonly<Record<string, Key>> = { answer: "stepAnswer", prompt: "stepPrompt", tool: "stepTool", schema: "stepSchema", window: "stepWindow", embedding: "stepEmbedding" };
const FACTS: Readonly<Record<string, Key>> = {
  temperature: "factTemperature",
  max_tokens: "factMaxTokens",
  max_completion_tokens: "factMaxCompletionTokens",
  tools: "factTools",
  stream_options: "factStreamOptions",
  response_format: "factResponseFormat",
  system: "factSystem",
  window: "factWindow",
  text_calls: "factTextCalls",
};

function factsOf(learned: Readonly<Record<string, number>>): HTMLElement[] {
  const words = Object.entries(learned).flatMap(([name, count]) => (FACTS[name] ? [t(FACTS[name], { count })] : []));
  return words.length > 0 ? [element("p", { class: "note" }, t("learnedOfModel"), " ", words.join(" "))] : [];
}

export function modelView(api: Pick<Api, "admin" | "auth" | "knowledge">, me: Administrator, say: (text: string) => void): Part {
  const state = element("div", { class: "stack", "aria-live": "polite" });
  const result = element("p", { role: "status" });
  const tested = element("div", { class: "stack" });
  const reindexing = element("div", { class: "stack" });
  const form = element("form", { class: "sheet narrow", novalidate: true, "aria-label": t("defaultModel") });
  let providers: readonly ModelProvider[] = [];
  let stored: ModelSettings | undefined;
  let entries: Readonly<Record<Field, Entry>> | undefined;

  const tell = (text: string, kind = "note") => {
    replace(tested);
    result.className = kind;
    replace(result, ...coded(text));
  };
  const wanted = () => {
    const value = (name: Field) => (entries && form.contains(entries[name].root) ? entries[name].control.value.trim() : "");
    const judge = entries?.judge.control;
    const judges = judge instanceof HTMLInputElement && form.contains(judge) && judge.checked;
    return { provider: value("provider"), model: value("model"), judge: judges ? judge.value || value("model") : "", embedding: value("embedding"), apiKey: value("api_key"), keyName: value("key_name"), baseUrl: value("base_url"), window: Number(value("window")), inputUsdMicros: MONEY.parse(value("input_usd_micros")), outputUsdMicros: MONEY.parse(value("output_usd_micros")) };
  };
  const act = async (meanwhile: string, does: () => Promise<void>) => {
    const all = entries;
    if (!all || form.hasAttribute("aria-busy") || lacking(Object.values(all).filter((one) => form.contains(one.root)))) return;
    const prices = [all.input_usd_micros, all.output_usd_micros];
    const unread = prices.find(({ control }) => MONEY.parse(control.value) === undefined);
    if (unread && prices.some(({ control }) => control.value.trim())) {
      unread.refuse(t("enterAmount", { example: MONEY.example }));
      return unread.control.focus();
    }
    form.setAttribute("aria-busy", "true"); // a disabled button would lose the focus
    tell(meanwhile);
    try {
      await does();
    } catch (error) {
      const failure = failureOf(error);
      const price = all.input_usd_micros;
      if (failure.reason === "PRICE_UNKNOWN" && form.contains(price.root)) {
        tell("");
        price.refuse(failure.message);
        return price.control.focus();
      }
      tell(placed(Object.fromEntries(Object.entries(all).map(([name, entry]) => [`default_model.${name}`, entry])), failure), "problem");
    } finally {
      form.removeAttribute("aria-busy");
    }
  };
  const test = async () => {
    const { outcome, message, models, windows, steps, learned } = await recently(api, me, () => api.admin.testModel({ defaultModel: wanted() }));
    if (models.length > 0) {
      fill(wanted(), models, windows);
      entries?.model.control.focus();
    }
    tell(message, outcome === ModelTestOutcome.ANSWERED ? "badge good" : "problem");
    const lines = steps.map(({ name, passed, detail }) => element("li", passed ? {} : { class: "problem" }, t(passed ? "stepPassed" : "stepFailed", { step: STEPS[name] ? t(STEPS[name]) : name, detail })));
    replace(tested, ...(lines.length > 0 ? [element("ol", WRITTEN, ...lines)] : []), ...factsOf(learned));
  };
  const save = async () => {
    const now = await recently(api, me, () => api.admin.setDefaultModel({ defaultModel: wanted() }));
    draw(now);
    tell("");
    say(t(now.models.length > 0 ? "modelSaved" : "passagesSaved"));
  };
  /** Draw the fields that the provider takes. `listed`: the models that it says it has, `windows`: with their windows. */
  const fill = (now: Partial<Pick<DefaultModel, "provider" | "model" | "judge" | "embedding" | "apiKey" | "keyName" | "baseUrl" | "window" | "inputUsdMicros" | "outputUsdMicros">> = {}, listed: readonly string[] = [], windows: Readonly<Record<string, number>> = {}) => {
    const chosen = providers.find((one) => one.name === now.provider);
    const provider = choiceEntry(t("provider"), [["", t("noProvider")], ...providers.map((one) => [one.name, one.displayName] as const)]);
    provider.control.value = chosen?.name ?? "";
    provider.control.addEventListener("change", () => {
      tell("");
      fill({ provider: provider.control.value });
      entries?.provider.control.focus();
    });
    const known = (listed.length > 0 ? listed : chosen?.models ?? []).map((one) => [one, one] as const);
    const model = known.length > 0 ? choiceEntry(t("model"), known) : textEntry(t("model"), { maxlength: "200", ...PLAIN }, t("modelNote"));
    if (now.model && (known.length === 0 || known.some(([one]) => one === now.model))) model.control.value = now.model;
    const window = textEntry(t("window"), { inputmode: "numeric", pattern: "[0-9]*", maxlength: "8" }, t("windowNote"));
    window.control.value = now.window ? String(now.window) : "";
    const fillWindow = () => {
      const known = windows[model.control.value];
      if (known) window.control.value = String(known);
    };
    model.control.addEventListener("change", fillWindow);
    fillWindow();
    const priceEntry = (label: string, micros: bigint | undefined) => {
      const entry = textEntry(label, { inputmode: "decimal", maxlength: "40" }, t("priceNote", { example: MONEY.example }));
      entry.control.value = micros === undefined ? "" : MONEY.text(micros);
      return entry;
    };
    const [read, written] = [priceEntry(t("priceRead"), now.inputUsdMicros), priceEntry(t("priceWritten"), now.outputUsdMicros)];
    const judge = boxEntry(t("judge"), t("judgeNote"));
    judge.control.checked = Boolean(now.judge);
    judge.control.value = now.judge && now.judge !== now.model ? now.judge : "";
    const own = chosen?.keyName ?? "";
    const keeps = stored?.keyStored && stored.defaultModel?.provider === now.provider;
    const key = textEntry(t("apiKey"), { type: "password", maxlength: "1024", ...PLAIN }, t(chosen?.keyFound ? "keyFound" : keeps ? "keyKept" : "keyNote", { key: own }));
    key.control.value = now.apiKey ?? "";
    const named = textEntry(t("nameOfKey"), { maxlength: "64", placeholder: own, ...PLAIN }, t("keyNameNote"));
    named.control.value = now.keyName ?? "";
    const url = textEntry(t("address"), { required: true, inputmode: "url", maxlength: "2048", placeholder: "http://127.0.0.1:11434/v1", ...PLAIN }, t("baseUrlNote"));
    url.control.value = now.baseUrl ?? "";
    const priced = (chosen?.embeddings ?? []).map(({ model: name, usdMicrosPerMillionTokens: price }) => [name, price > 0n ? t("pricedEmbedding", { model: name, price: money(price) }) : name] as const);
    const embedding = priced.length > 0 ? choiceEntry(t("embeddingOf"), [["", t("ownEmbedding")], ...priced], t("embeddingOfNote")) : textEntry(t("embeddingOf"), { maxlength: "200", placeholder: t("ownEmbedding"), list: "listed-models", ...PLAIN }, t("embeddingOfNote"));
    if (now.embedding && priced.length > 0 && !priced.some(([name]) => name === now.embedding)) embedding.control.append(element("option", { value: now.embedding }, now.embedding));
    embedding.control.value = now.embedding ?? "";
    entries = { provider, base_url: url, api_key: key, key_name: named, model, judge, window, input_usd_micros: read, output_usd_micros: written, embedding };
    const vectors = chosen?.takesEmbedding && !stored?.embeddingFixedBy ? [embedding] : [];
    const fields = [provider, ...(chosen ? [...(chosen.takesBaseUrl ? [url] : []), ...(chosen.takesKeyName ? [key] : []), model, judge, ...(chosen.takesKeyName ? [window] : []), ...(chosen.models.length === 0 ? [read, written] : []), ...vectors] : [])];
    const host = element("p", { class: "note" });
    const tellHost = () => {
      const address = chosen?.takesBaseUrl ? url.control.value.trim() : chosen?.baseUrl ?? "";
      host.textContent = URL.canParse(address) ? t("sentTo", { url: new URL(address).host }) : "";
    };
    url.control.addEventListener("input", tellHost);
    tellHost();
    const buttons = [element("button", { type: "submit" }, t("save")), ...(chosen ? [button(t("test"), () => void act(t("askingModel"), test), { class: "quiet" })] : [])];
    const first: readonly Entry[] = [provider, url, key, model];
    const rare = [...fields.filter((one) => !first.includes(one)), ...(chosen?.takesKeyName ? [named] : [])];
    const more = element("details", { open: Boolean(now.judge) || rare.some(({ control }) => control.value !== "") }, element("summary", {}, t("modelMore")), element("div", { class: "stack" }, ...rare.map((one) => one.root)));
    replace(form, ...fields.filter((one) => first.includes(one)).map((one) => one.root), ...(rare.length > 0 ? [more] : []), host, element("div", { class: "row wrap" }, ...buttons), result, tested, element("datalist", { id: "listed-models" }, ...listed.map((value) => element("option", { value }))));
  };
  const tellState = ({ models, fixedBy, problem, warning, updateTime, keyInUse, learned }: ModelSettings) => {
    const since = updateTime && !fixedBy ? [" ", element("span", { class: "note" }, t("modelSince", { time: moment(updateTime) }))] : [];
    const inUse = models.length > 0
      ? element("p", {}, ...mixed(t("modelInUse", { model: "\0" }), element("strong", WRITTEN, models.map(modelName).join(t("thenModel")))), ...since)
      : element("p", {}, t("noModelInUse"));
    const from = models.length > 0 && keyInUse ? [element("p", { class: "note" }, keyInUse === "stored" ? t("keyStored") : t("keyNamed", { key: keyInUse }))] : [];
    const fixed = element("p", { class: "access" }, ...mixed(t("modelFixed", { setting: "\0" }), element("code", {}, fixedBy)));
    renew(state, inUse, ...from, ...factsOf(learned), ...[problem, warning].filter(Boolean).map((one) => element("p", { class: "warning", ...WRITTEN }, one)), ...(fixedBy ? [fixed] : []));
  };
  const draw = (found: ModelSettings) => {
    stored = found;
    tellState(found);
    form.hidden = found.fixedBy !== "";
    providers = found.providers;
    fill(found.defaultModel);
    offerReindexing(reindexing, api, found, say).catch(() => replace(reindexing)); // an offer that cannot be made is none
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
  /** The form stays as it is: its owner may be filling it in. */
  const reread = async () => (providers.length > 0 ? tellState(await api.admin.getModels({})) : show());
  return { root: element("div", { class: "stack" }, state, form, reindexing), show, reread };
}
