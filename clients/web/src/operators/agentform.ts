/** The form with which owners of the installation make and change agents without files. It writes versions of the agent, asks them, compares them and publishes them. */

import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { Agent } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import type { Tool } from "@responsa/contract/responsa/chat/v1/tool_pb.js";
import type { Turn } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { titleOf } from "../chat/fetched.js";
import { sentenceCase } from "../documents/access.js";
import { collectionId, idFrom, readableCollections, type Listed } from "../documents/library.js";
import { t } from "../language/operators/texts.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { loadMarkdown } from "../text/markdown.js";
import { Prose } from "../text/prose.js";
import { modelName } from "../text/names.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { checklist, choiceEntry, Entry, lacking, placed, textEntry, type Choice } from "../widgets/fields.js";
import { numberOf } from "./content.js";

type FormApi = Pick<Api, "admin" | "chat" | "knowledge">;

const CONFIG = "agent_version.content.config.";
/** The longest time of an answer in milliseconds. */
const LONGEST = 120_000;
/** In an agent's tools: all that change nothing. */
const EVERY_TOOL = "*";

export interface FormHooks {
  readonly agents: readonly Agent[];
  readonly tools: readonly Tool[];
  readonly say: (text: string) => void;
  /** Show how a version differs from an earlier one. */
  readonly compare: (agent: string, version: string, earlier: string) => Promise<void>;
  /** Show the agents again. */
  readonly done: () => void;
}

/** The form for this agent, or for a new one. Raises ConnectError. */
export async function agentForm(api: FormApi, of: Agent | undefined, { agents, tools, say, compare, done }: FormHooks): Promise<HTMLElement> {
  const title = of ? t("editAgent", { agent: of.displayName }) : t("newAgent");
  const heading = element("h3", { tabindex: "-1" }, title);
  const back = button(t("allAgents"), done, { class: "quiet" });
  const [content, collections, models] = await Promise.all([of && api.admin.getAgentVersion({ name: of.version }), readableCollections(api), modelsOf(api, agents)]);
  const before = of ? within(content?.content, "config") : { standard: true };
  if (before["standard"] !== true) return element("section", { class: "stack narrow", "aria-label": title }, heading, element("p", { class: "access" }, t("ownSteps", { agent: of?.displayName ?? "", file: `${of?.name.replace("agents/", "")}/agent.toml` })), element("div", { class: "row" }, back));

  for (const one of ["start", "nodes", "graph"]) delete before[one]; // they are the server's own, and another release has others
  const chain = JSON.stringify(within(before, "model")["chain"] ?? ["default"]);
  const name = textEntry(t("name"), { required: true, maxlength: "200", value: textOf(before["name"]) });
  const description = textEntry(t("agentDescription"), { maxlength: "300", value: textOf(before["description"]) }, t("agentDescriptionNote"));
  const questions = areaEntry(t("agentQuestions"), "4", "1000", namesOf(before["questions"]).join("\n"), t("agentQuestionsNote"));
  const greeting = areaEntry(t("agentGreeting"), "2", "1000", textOf(before["greeting"]), t("agentGreetingNote"));
  const instructions = areaEntry(t("instructions"), "6", "20000", textOf(before["instructions"]), t("instructionsNote"));
  const model = choiceEntry(t("languageModel"), models.some(([value]) => value === chain) ? models : [...models, [chain, namesOf(JSON.parse(chain) as JsonValue).join(", ")]]);
  model.control.value = chain;
  const sought = namesOf(within(before, "retrieval")["collections"]);
  // Files may name a collection by the id that its owner chose; the shared name is everybody's.
  const idOf = ({ name: own, sharedName, chosenId }: Listed) => [own, chosenId].map(collectionId).find((one) => sought.includes(one)) ?? collectionId(sharedName || own);
  const searched = checklist(t("searches"), t("searchesNote"), collections.map((one) => [idOf(one), one.label]), sought);
  const called = checklist(t("tools"), t("toolsNote"), tools.filter(({ problems }) => problems.length === 0).map((one) => [one.name.replace("tools/", ""), sentenceCase(titleOf(one.name))]), namesOf(within(before, "tools")["use"]), (gone) => (gone === EVERY_TOOL ? t("everyTool") : gone));
  const offered = element("input", { type: "checkbox", checked: of?.listed ?? true });
  const question = textEntry(t("tryQuestion"), { maxlength: "2000" });
  const entries: Readonly<Record<string, Entry>> = { name, description, greeting, questions, instructions, "model.chain": model };
  const problem = element("p", { class: "problem", role: "alert" });
  const answers = element("div", { class: "beside", "aria-live": "polite" });

  const parent = () => of?.name ?? freeName(name.control.value, agents);
  let stored = { body: "", version: "" };
  /** The version with what the form says now. The same content is the same version. */
  const store = async (): Promise<string> => {
    const config: JsonObject = {
      ...before,
      name: name.control.value.trim(),
      description: description.control.value.trim(),
      greeting: greeting.control.value.trim(),
      questions: questions.control.value.split("\n").map((line) => line.trim()).filter(Boolean),
      instructions: instructions.control.value.trim(),
      listed: offered.checked,
      model: { ...within(before, "model"), chain: JSON.parse(model.control.value) as JsonValue },
      retrieval: { ...within(before, "retrieval"), collections: searched.chosen() },
      tools: { ...within(before, "tools"), use: called.chosen() },
    };
    const body = JSON.stringify(config);
    if (body !== stored.body) stored = { body, version: (await api.admin.createAgentVersion({ parent: stored.version.split("/versions/")[0] || parent(), agentVersion: { content: { config } } })).name };
    return stored.version;
  };
  const act = async (does: (version: string) => Promise<void>) => {
    if (form.hasAttribute("aria-busy") || lacking([name])) return;
    form.setAttribute("aria-busy", "true"); // a disabled button would lose the focus
    problem.textContent = "";
    try {
      await does(await store());
    } catch (error) {
      problem.textContent = placed(Object.fromEntries(Object.entries(entries).map(([key, entry]) => [CONFIG + key, entry])), failureOf(error));
    } finally {
      form.removeAttribute("aria-busy");
    }
  };
  const attempt = async (version: string) => {
    const text = question.control.value.trim();
    if (!text) {
      question.refuse(t("questionNeeded"));
      question.control.focus();
      return;
    }
    const both = [...(of && of.version !== version ? [of.version] : []), version];
    const columns = both.map((one) => element("section", { class: "stack" }, element("h4", {}, t(one === of?.version ? "nowVersion" : "newVersion", { number: numberOf(one) })), element("p", { class: "note" }, t("asking"))));
    replace(answers, ...columns);
    await loadMarkdown().catch(() => undefined); // without the parser, the answers show their markup
    await Promise.all(both.map(async (one, place) => columns[place]!.lastElementChild!.replaceWith(...(await asked(api, text, one)))));
  };
  const publish = async (version: string) => {
    await api.admin.publishAgentVersion({ name: version, etag: of?.etag ?? "" });
    say(t("agentPublished", { agent: name.control.value.trim() }));
    done();
  };
  const form = element(
    "form",
    { class: "sheet agent-form", novalidate: true, "aria-label": title },
    ...[name, description, greeting, questions, instructions, model].map(({ root }) => root),
    searched.root,
    called.root,
    element("label", { class: "inline" }, offered, t("offerAgent")),
    element("div", { class: "adding" }, question.root, button(t("ask"), () => void act(attempt), { class: "quiet" })),
    answers,
    problem,
    element("div", { class: "row wrap" }, element("button", { type: "submit" }, t("publishAgent")), ...(of ? [button(t("differences"), () => void act((version) => compare(of.displayName, version, of.version)), { class: "quiet" })] : []), back),
    element("p", { class: "note" }, t(of?.fileVersion ? "formCounts" : "formAlone")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void act(publish);
  });
  question.control.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // it would publish
    void act(attempt);
  });
  return element("section", { class: "stack", "aria-label": title }, heading, form);
}

/** What a version answers, and from which documents. The conversation of the question goes again. */
async function asked(api: FormApi, text: string, agent: string): Promise<readonly HTMLElement[]> {
  try {
    const turn = await api.chat.answer({ text, agent }, { timeoutMs: LONGEST });
    void api.chat.deleteConversation({ name: turn.conversation }).catch(() => undefined); // it then stays in the list
    return shownTurn(turn);
  } catch (error) {
    return [element("p", { class: "problem" }, failureOf(error).message)];
  }
}

function shownTurn({ terminalEvent }: Turn): readonly HTMLElement[] {
  const end = terminalEvent?.event;
  if (end?.case !== "answer") return [element("p", WRITTEN, end?.case === "refused" ? end.value.message : t("noAnswer"))];
  const prose = new Prose(() => element("span", {}));
  prose.show(end.value.text, []);
  const sources = [...new Set(end.value.citations.map(({ title }) => title))];
  return [prose.root, ...(sources.length > 0 ? [element("p", { class: "note", ...WRITTEN }, t("sourcesOf", { titles: sources.join(", ") }))] : [])];
}

/** The models that an agent may have, as the JSON of its chain. */
async function modelsOf(api: FormApi, agents: readonly Agent[]): Promise<readonly Choice[]> {
  const { models, providers, keyStored, defaultModel } = await api.admin.getModels({});
  const usable = providers.filter((one) => one.keyFound || (keyStored && one.name === defaultModel?.provider));
  const named = new Set([...models, ...agents.flatMap((one) => one.models), ...usable.flatMap((one) => one.models.map((model) => `${one.name}:${model}`))]);
  const usual = t("defaultModelOf", { model: models.map(modelName).join(", ") || t("noModel") });
  return [[JSON.stringify(["default"]), usual], [JSON.stringify(["passages"]), t("passagesAlone")], ...[...named].sort().map((one): Choice => [JSON.stringify([one]), one])];
}

function areaEntry(label: string, rows: string, maxlength: string, value: string, note: string): Entry<HTMLTextAreaElement> {
  return new Entry(label, element("textarea", { rows, maxlength, ...WRITTEN }, value), note);
}

/** `agents/{id}` for a new agent of this name, which no agent has. */
function freeName(displayName: string, agents: readonly Agent[]): string {
  const id = idFrom(displayName).slice(0, 60) || "agent";
  const taken = new Set(agents.map(({ name }) => name));
  let name = `agents/${id}`;
  for (let number = 2; taken.has(name); number += 1) name = `agents/${id}-${number}`;
  return name;
}

function within(of: JsonObject | undefined, name: string): JsonObject {
  const table = of?.[name];
  return typeof table === "object" && table !== null && !Array.isArray(table) ? table : {};
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}

function namesOf(value: JsonValue | undefined): readonly string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
}
