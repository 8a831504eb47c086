/** Shows administrators the agents with their versions, and the tools. */

import type { Agent, AgentVersion } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { ToolEffect, type Tool } from "@responsa/contract/responsa/chat/v1/tool_pb.js";
import { structuredPatch } from "diff";
import { allAgents, allTools, labelOf, toolsOf } from "../chat/agents.js";
import { locale } from "../language/language.js";
import { t } from "../language/operators/texts.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { moment } from "../text/facts.js";
import { modelName } from "../text/names.js";
import { shown } from "../widgets/dialog.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { actButton, badge, ResourceList, rowOf, type Row, type Stage } from "../widgets/resourcelist.js";
import { noted, type Part } from "../widgets/tabbed.js";
import { agentForm } from "./agentform.js";
import { AgentsPart } from "./agentspart.js";
import { programDialog } from "./program.js";
import type { Administrator } from "../server/people.js";
import { contentText, numberOf } from "./content.js";
import { experimentsList, outranked, versionActs } from "./experiments.js";

const EFFECTS: Partial<Record<ToolEffect, string>> = { [ToolEffect.NONE]: t("effectNone"), [ToolEffect.IDEMPOTENT]: t("effectIdempotent"), [ToolEffect.ONCE]: t("effectOnce") };

export class AgentsView implements Part, Stage {
  readonly root: HTMLElement;
  readonly say: (text: string) => void;
  readonly #api: Pick<Api, "admin" | "auth" | "chat" | "knowledge">;
  /** Owners of the installation may read what versions contain, and change which one answers. */
  readonly #me: Administrator;
  readonly #files: AgentsPart;
  readonly #experiments: Stage;
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly home = element("ul", { class: "documents", "aria-label": t("agents"), tabindex: "-1" }, element("li", { class: "note" }, t("loading")));
  readonly #examples = element("ul", { class: "documents", "aria-label": t("examples") });
  readonly #folded = element("details", { class: "raw", hidden: true }, element("summary", {}, t("examples")), element("p", { class: "note" }, t("examplesAbout")), this.#examples);
  readonly #tools = element("ul", { class: "documents", "aria-label": t("tools") });
  readonly #lists: HTMLElement;
  #agents: readonly Agent[] = [];
  #known: readonly Tool[] = [];

  constructor(api: Pick<Api, "admin" | "auth" | "chat" | "knowledge">, me: Administrator, say: (text: string) => void) {
    this.#api = api;
    this.#me = me;
    const owns = me.ownsInstallation;
    this.say = say;
    this.#files = new AgentsPart(api, say, owns);
    this.#experiments = experimentsList(api, this, () => this.#agents);
    const add = owns ? [element("div", { class: "row" }, button(t("newAgent"), () => void this.#edit("new"), { class: "quiet" }))] : [];
    this.#lists = element("div", { class: "stack" }, this.#files.root, ...add, this.home, this.#folded, element("details", { class: "raw" }, element("summary", {}, owns ? t("moreActions") : t("tools")), ...(owns ? [this.#experiments.root] : []), element("h3", {}, t("tools")), this.#tools));
    this.root = element("div", { class: "stack" }, this.#problem, this.#lists);
  }

  readonly again = (): Promise<void> => this.show();

  readonly refuse = (why: string): void => void (this.#problem.textContent = why);

  /** `edit`: `agents/{id}`, or `new`. */
  async show({ edit = "" }: Readonly<Record<string, string>> = {}): Promise<void> {
    replace(this.root, this.#problem, this.#lists);
    void this.#files.refresh();
    try {
      const [agents, tools] = await Promise.all([allAgents(this.#api), allTools(this.#api)]);
      this.#agents = agents;
      this.#known = tools;
      if (this.#me.ownsInstallation) void this.#experiments.again();
      const examples = agents.filter((one) => one.isExample);
      replace(this.home, ...agents.filter((one) => !one.isExample).map((one) => this.#agentRow(one, tools)));
      replace(this.#examples, ...examples.map((one) => this.#agentRow(one, tools)));
      this.#folded.hidden = examples.length === 0;
      replace(this.#tools, ...(tools.length > 0 ? tools.map((one) => toolRow(one, agents)) : [element("li", { class: "note" }, t("noTools"))]));
      this.refuse("");
      if (edit && this.#me.ownsInstallation) await this.#edit(edit);
    } catch (error) {
      this.refuse(failureOf(error).message);
    }
  }

  /** Show the form for an agent, or for a new one, in place of the lists. */
  async #edit(name: string): Promise<void> {
    const place = (edit: string) => noted({ area: "administration", tab: "agents", query: { edit } });
    const compare = (agent: string, version: string, earlier: string) => this.#show(agent, version, earlier);
    const done = () => {
      place("");
      void this.again().then(() => this.home.focus());
    };
    try {
      const form = await agentForm(this.#api, this.#agents.find((one) => one.name === name), { agents: this.#agents, tools: this.#known, say: this.say, compare, done });
      place(name);
      replace(this.root, this.#problem, form);
      form.querySelector<HTMLElement>("h3")?.focus();
    } catch (error) {
      this.refuse(failureOf(error).message);
    }
  }

  /** What can be done with an agent: most of it by owners of the installation. */
  #acts(agent: Agent): readonly HTMLElement[] {
    const program = button(t("useFromProgram"), () => void programDialog(this.#api, agent, this.#me, this.say).then(() => program.focus()), { "aria-label": t("useFromProgramOf", { agent: agent.displayName }) });
    if (!this.#me.ownsInstallation) return [program];
    const { name, displayName, fileVersion, listed, etag } = agent;
    const files = { label: t("useFiles"), name: t("useFilesOf", { agent: displayName }), ask: { title: t("useFilesOf", { agent: displayName }), text: t("useFilesWhat") }, danger: false, does: () => this.#api.admin.publishAgentVersion({ name: fileVersion, etag }), said: t("filesUsed", { agent: displayName }) };
    const list = { label: t(listed ? "unlist" : "list"), name: t(listed ? "unlistAgent" : "listAgent", { agent: displayName }), does: () => this.#api.admin.updateAgent({ agent: { name, listed: !listed, etag }, updateMask: { paths: ["listed"] } }), said: t(listed ? "unlisted" : "listed", { agent: displayName }), next: t(listed ? "listAgent" : "unlistAgent", { agent: displayName }) };
    return [button(t("edit"), () => void this.#edit(name), { "aria-label": t("editAgent", { agent: displayName }) }), actButton(this, list), ...(outranked(agent) ? [actButton(this, files)] : []), program];
  }

  #agentRow(agent: Agent, tools: readonly Tool[]): HTMLElement {
    const { name, displayName, description, version, models, isDefault, missingTools } = agent;
    const used = toolsOf(tools, name);
    const facts = [t("versionNumber", { number: numberOf(version) }), outranked(agent), models.length > 0 ? models.map(modelName).join(", ") : t("noModel"), used && t("uses", { tools: used })];
    const versions = new ResourceList({
      label: t("versionsOf", { agent: displayName }),
      list: (asked) => this.#api.admin.listAgentVersions({ ...asked, parent: name }),
      items: ({ agentVersions }) => agentVersions,
      row: (one: AgentVersion) => this.#versionRow(agent, one),
      empty: t("noVersions"),
      say: this.say,
    });
    const details = element("details", { class: "raw" }, element("summary", { "aria-label": t("versionsOf", { agent: displayName }) }, t("versions")), versions.root);
    details.addEventListener("toggle", () => details.open && void versions.again());
    return element(
      "li",
      { class: "wrapping event" },
      element(
        "div",
        { class: "about" },
        element("strong", { class: "name", ...WRITTEN }, displayName),
        ...(isDefault ? [badge(t("isDefault"), "good")] : []),
        ...(agent.listed ? [] : [badge(t("notListed"))]),
        element("p", { class: "whole", ...WRITTEN }, description),
        element("p", { class: "note whole" }, facts.filter(Boolean).join(" · ")),
        ...(missingTools.length > 0 ? [element("p", { class: "warning whole" }, t("lacksTools", { count: missingTools.length, tools: missingTools.join(", ") }))] : []),
      ),
      element("div", { class: "row wrap acts" }, ...this.#acts(agent)),
      details,
    );
  }

  #versionRow(of: Agent, version: AgentVersion): Row {
    const { name, createTime, sha256, isCurrent } = version;
    const [agent, number] = [of.displayName, numberOf(name)];
    const earlier = number - 1;
    const content = () => [
      button(t("show"), () => void this.#show(agent, name), { "aria-label": t("showVersion", { number, agent }) }),
      ...(number > 1 ? [button(t("compareWith", { earlier }), () => void this.#show(agent, name, name.replace(/\d+$/, String(earlier))), { "aria-label": t("compareLabel", { earlier, number, agent }) })] : []),
      ...versionActs(this.#api, this, of, version),
    ];
    return {
      name: t("versionNumber", { number }),
      badges: isCurrent ? [badge(t("inUse"), "good")] : [],
      facts: [createTime && t("since", { time: moment(createTime) }), sha256.slice(0, 8)],
      tip: sha256,
      acts: this.#me.ownsInstallation ? content() : [],
    };
  }

  /** Show what a version contains, or how it differs from an earlier one. */
  async #show(agent: string, name: string, earlier?: string): Promise<void> {
    try {
      const [now, before] = await Promise.all([name, earlier].map(async (one) => (one ? contentText((await this.#api.admin.getAgentVersion({ name: one })).content) : undefined)));
      const title = t(earlier ? "comparedTitle" : "version", { agent, number: numberOf(name), earlier: earlier ? numberOf(earlier) : "" });
      const lines = before === undefined ? (now ?? "").split("\n").map((line) => ` ${line}`) : structuredPatch("", "", before, now ?? "", "", "", { context: 2 }).hunks.flatMap((one, index) => [...(index > 0 ? [" ⋯"] : []), ...one.lines]);
      const about = before === undefined ? [] : [element("p", { class: "note" }, t(lines.length > 0 ? "newAndGone" : "sameContent"))];
      const hunks = element("div", { class: "hunks content", tabindex: "0", role: "region", "aria-label": title }, ...lines.filter((line) => !line.startsWith("\\")).map(lineRow));
      await shown(title, t("close"), [...about, ...(lines.length > 0 ? [hunks] : [])], hunks);
    } catch (error) {
      this.refuse(failureOf(error).message);
    }
  }
}

function lineRow(line: string): HTMLElement {
  const [sign, text] = [line[0], line.slice(1) || " "];
  if (sign === "+") return element("div", { class: "ins" }, element("span", { class: "sign" }, "+"), element("ins", {}, text));
  if (sign === "-") return element("div", { class: "del" }, element("span", { class: "sign" }, "−"), element("del", {}, text));
  return element("div", { class: "same" }, element("span", { class: "sign" }, " "), element("span", {}, text));
}

function toolRow({ name, title, description, kind, effect, agents, problems }: Tool, all: readonly Agent[]): HTMLElement {
  const used = agents.length > 0 ? t("usedBy", { agents: new Intl.ListFormat(locale()).format(agents.map((one) => labelOf(all, one))) }) : t("unused");
  const wrong = problems.map(({ file, line, key, message }) => element("li", WRITTEN, element("code", {}, [[file, line > 0 && line].filter(Boolean).join(":"), key].filter(Boolean).join(": ")), ` ${message}`));
  return rowOf({
    name: title || name.replace("tools/", ""),
    badges: wrong.length > 0 ? [badge(t("notAvailable"), "warn")] : [],
    more: [
      element("p", { class: "whole clamped", title: description, ...WRITTEN }, description),
      element("p", { class: "note whole" }, [kind, EFFECTS[effect], used].filter(Boolean).join(" · ")),
      ...(wrong.length > 0 ? [element("ul", { class: "problems whole" }, ...wrong)] : []),
    ],
  });
}
