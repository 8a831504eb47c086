/** Shows administrators the agents with their versions, and the tools. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Agent, AgentVersion } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { ToolEffect, type Tool } from "@responsa/contract/responsa/chat/v1/tool_pb.js";
import { structuredPatch } from "diff";
import { allAgents, allTools, labelOf, toolsOf } from "../chat/agents.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { momentOf } from "../text/facts.js";
import { shown } from "../widgets/dialog.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { Listing } from "../widgets/listing.js";
import type { Part } from "../widgets/tabbed.js";
import { AgentsPart } from "./agentspart.js";
import { contentText, numberOf } from "./content.js";
import { ExperimentsView } from "./experiments.js";

const PAGE = 20;
const EFFECTS: Partial<Record<ToolEffect, string>> = { [ToolEffect.NONE]: "changes nothing", [ToolEffect.IDEMPOTENT]: "may be repeated", [ToolEffect.ONCE]: "has an effect each time" };

export class AgentsView implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin" | "chat">;
  /** Whether the user owns the installation, so that the user may read what versions contain. */
  readonly #owns: boolean;
  readonly #files: AgentsPart;
  readonly #experiments: ExperimentsView;
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #agents = element("ul", { class: "documents", "aria-label": "Agents" }, element("li", { class: "note" }, "Loading…"));
  readonly #tools = element("ul", { class: "documents", "aria-label": "Tools" });

  constructor(api: Pick<Api, "admin" | "chat">, owns: boolean, say: (text: string) => void) {
    this.#api = api;
    this.#owns = owns;
    this.#files = new AgentsPart(api, say, owns);
    this.#experiments = new ExperimentsView(api, say, () => this.show());
    this.root = element("div", { class: "stack" }, this.#files.root, this.#problem, this.#agents, ...(owns ? [this.#experiments.root] : []), element("h3", {}, "Tools"), this.#tools);
  }

  async show(): Promise<void> {
    void this.#files.refresh();
    try {
      const [agents, tools] = await Promise.all([allAgents(this.#api), allTools(this.#api)]);
      if (this.#owns) void this.#experiments.show(agents);
      replace(this.#agents, ...agents.map((one) => this.#agentRow(one, tools)));
      replace(this.#tools, ...(tools.length > 0 ? tools.map((one) => toolRow(one, agents)) : [element("li", { class: "note" }, "No tools are declared.")]));
      this.#problem.textContent = "";
    } catch (error) {
      this.#problem.textContent = failureOf(error).message;
    }
  }

  #agentRow(agent: Agent, tools: readonly Tool[]): HTMLElement {
    const { name, displayName, description, version, models, isDefault, missingTools } = agent;
    const used = toolsOf(tools, name);
    const facts = [`Version ${numberOf(version)}`, this.#experiments.noteOf(agent), models.length > 0 ? models.join(", ") : "no language model", used && `uses ${used}`];
    const versions = new Listing<AgentVersion>({
      label: `Versions of ${displayName}`,
      read: async (pageToken) => {
        const { agentVersions, nextPageToken } = await this.#api.admin.listAgentVersions({ parent: name, pageSize: PAGE, pageToken });
        return { items: agentVersions, next: nextPageToken };
      },
      row: (one) => this.#versionRow(agent, one),
      empty: () => "No versions.",
    });
    const details = element("details", { class: "raw" }, element("summary", { "aria-label": `Versions of ${displayName}` }, "Versions"), versions.root);
    details.addEventListener("toggle", () => details.open && void versions.refresh());
    return element(
      "li",
      { class: "wrapping event" },
      element(
        "div",
        { class: "about" },
        element("strong", { class: "name", ...WRITTEN }, displayName),
        ...(isDefault ? [element("span", { class: "badge good" }, "default")] : []),
        element("p", { class: "whole", ...WRITTEN }, description),
        element("p", { class: "note whole" }, facts.filter(Boolean).join(" · ")),
        ...(missingTools.length > 0 ? [element("p", { class: "warning whole" }, `This server lacks ${missingTools.length === 1 ? "a tool" : "tools"} of this agent: ${missingTools.join(", ")}.`)] : []),
      ),
      details,
    );
  }

  #versionRow(of: Agent, version: AgentVersion): HTMLElement {
    const { name, createTime, sha256, isCurrent } = version;
    const [agent, number] = [of.displayName, numberOf(name)];
    const acts = [
      button("Show", () => void this.#show(agent, name), { "aria-label": `Show version ${number} of ${agent}` }),
      ...(number > 1 ? [button(`Compare with ${number - 1}`, () => void this.#show(agent, name, name.replace(/\d+$/, String(number - 1))), { "aria-label": `Compare with ${number - 1}: version ${number} of ${agent}` })] : []),
      ...this.#experiments.acts(of, version),
    ];
    return element(
      "li",
      { class: "wrapping" },
      element("div", { class: "about" }, element("strong", {}, `Version ${number}`), ...(isCurrent ? [element("span", { class: "badge good" }, "in use")] : []), element("span", { class: "note" }, createTime ? `since ${momentOf(timestampDate(createTime))}` : ""), element("code", { class: "note", title: sha256 }, sha256.slice(0, 8))),
      ...(this.#owns ? [element("div", { class: "row wrap acts" }, ...acts)] : []),
    );
  }

  /** Show what a version contains, or how it differs from an earlier one. */
  async #show(agent: string, name: string, earlier?: string): Promise<void> {
    try {
      const [now, before] = await Promise.all([name, earlier].map(async (one) => (one ? contentText((await this.#api.admin.getAgentVersion({ name: one })).content) : undefined)));
      const title = `${agent}, version ${numberOf(name)}${earlier ? ` compared with ${numberOf(earlier)}` : ""}`;
      const lines = before === undefined ? (now ?? "").split("\n").map((line) => ` ${line}`) : structuredPatch("", "", before, now ?? "", "", "", { context: 2 }).hunks.flatMap((one, index) => [...(index > 0 ? [" ⋯"] : []), ...one.lines]);
      const about = before === undefined ? [] : [element("p", { class: "note" }, lines.length > 0 ? "Lines marked + are new, lines marked − are gone." : "Both versions have the same content; another release of Responsa runs them.")];
      const hunks = element("div", { class: "hunks content", tabindex: "0", role: "region", "aria-label": title }, ...lines.filter((line) => !line.startsWith("\\")).map(lineRow));
      await shown(title, "Close", [...about, ...(lines.length > 0 ? [hunks] : [])], hunks);
    } catch (error) {
      this.#problem.textContent = failureOf(error).message;
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
  const used = agents.length > 0 ? `used by ${new Intl.ListFormat("en-GB").format(agents.map((one) => labelOf(all, one)))}` : "no agent uses it";
  const wrong = problems.map(({ file, line, key, message }) => element("li", WRITTEN, element("code", {}, [[file, line > 0 && line].filter(Boolean).join(":"), key].filter(Boolean).join(": ")), ` ${message}`));
  return element(
    "li",
    { class: "wrapping" },
    element(
      "div",
      { class: "about" },
      element("strong", { class: "name", ...WRITTEN }, title || name.replace("tools/", "")),
      ...(wrong.length > 0 ? [element("span", { class: "badge warn" }, "not available")] : []),
      element("p", { class: "whole clamped", title: description, ...WRITTEN }, description),
      element("p", { class: "note whole" }, [kind, EFFECTS[effect], used].filter(Boolean).join(" · ")),
      ...(wrong.length > 0 ? [element("ul", { class: "problems whole" }, ...wrong)] : []),
    ),
  );
}
