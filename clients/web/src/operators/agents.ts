/** Shows administrators the agents with their versions, and the tools. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Agent, AgentVersion } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { ToolEffect, type Tool } from "@responsa/contract/responsa/chat/v1/tool_pb.js";
import { structuredPatch } from "diff";
import { allAgents, allTools, labelOf, toolsOf } from "../chat/agents.js";
import { locale } from "../language/language.js";
import { t } from "../language/operators/texts.js";
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
const EFFECTS: Partial<Record<ToolEffect, string>> = { [ToolEffect.NONE]: t("effectNone"), [ToolEffect.IDEMPOTENT]: t("effectIdempotent"), [ToolEffect.ONCE]: t("effectOnce") };

export class AgentsView implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin" | "chat">;
  /** Whether the user owns the installation, so that the user may read what versions contain. */
  readonly #owns: boolean;
  readonly #files: AgentsPart;
  readonly #experiments: ExperimentsView;
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #agents = element("ul", { class: "documents", "aria-label": t("agents") }, element("li", { class: "note" }, t("loading")));
  readonly #tools = element("ul", { class: "documents", "aria-label": t("tools") });

  constructor(api: Pick<Api, "admin" | "chat">, owns: boolean, say: (text: string) => void) {
    this.#api = api;
    this.#owns = owns;
    this.#files = new AgentsPart(api, say, owns);
    this.#experiments = new ExperimentsView(api, say, () => this.show());
    this.root = element("div", { class: "stack" }, this.#files.root, this.#problem, this.#agents, ...(owns ? [this.#experiments.root] : []), element("h3", {}, t("tools")), this.#tools);
  }

  async show(): Promise<void> {
    void this.#files.refresh();
    try {
      const [agents, tools] = await Promise.all([allAgents(this.#api), allTools(this.#api)]);
      if (this.#owns) void this.#experiments.show(agents);
      replace(this.#agents, ...agents.map((one) => this.#agentRow(one, tools)));
      replace(this.#tools, ...(tools.length > 0 ? tools.map((one) => toolRow(one, agents)) : [element("li", { class: "note" }, t("noTools"))]));
      this.#problem.textContent = "";
    } catch (error) {
      this.#problem.textContent = failureOf(error).message;
    }
  }

  #agentRow(agent: Agent, tools: readonly Tool[]): HTMLElement {
    const { name, displayName, description, version, models, isDefault, missingTools } = agent;
    const used = toolsOf(tools, name);
    const facts = [t("versionNumber", { number: numberOf(version) }), this.#experiments.noteOf(agent), models.length > 0 ? models.join(", ") : t("noModel"), used && t("uses", { tools: used })];
    const versions = new Listing<AgentVersion>({
      label: t("versionsOf", { agent: displayName }),
      read: async (pageToken) => {
        const { agentVersions, nextPageToken } = await this.#api.admin.listAgentVersions({ parent: name, pageSize: PAGE, pageToken });
        return { items: agentVersions, next: nextPageToken };
      },
      row: (one) => this.#versionRow(agent, one),
      empty: () => t("noVersions"),
    });
    const details = element("details", { class: "raw" }, element("summary", { "aria-label": t("versionsOf", { agent: displayName }) }, t("versions")), versions.root);
    details.addEventListener("toggle", () => details.open && void versions.refresh());
    return element(
      "li",
      { class: "wrapping event" },
      element(
        "div",
        { class: "about" },
        element("strong", { class: "name", ...WRITTEN }, displayName),
        ...(isDefault ? [element("span", { class: "badge good" }, t("isDefault"))] : []),
        element("p", { class: "whole", ...WRITTEN }, description),
        element("p", { class: "note whole" }, facts.filter(Boolean).join(" · ")),
        ...(missingTools.length > 0 ? [element("p", { class: "warning whole" }, t("lacksTools", { count: missingTools.length, tools: missingTools.join(", ") }))] : []),
      ),
      details,
    );
  }

  #versionRow(of: Agent, version: AgentVersion): HTMLElement {
    const { name, createTime, sha256, isCurrent } = version;
    const [agent, number] = [of.displayName, numberOf(name)];
    const earlier = number - 1;
    const acts = [
      button(t("show"), () => void this.#show(agent, name), { "aria-label": t("showVersion", { number, agent }) }),
      ...(number > 1 ? [button(t("compareWith", { earlier }), () => void this.#show(agent, name, name.replace(/\d+$/, String(earlier))), { "aria-label": t("compareLabel", { earlier, number, agent }) })] : []),
      ...this.#experiments.acts(of, version),
    ];
    return element(
      "li",
      { class: "wrapping" },
      element("div", { class: "about" }, element("strong", {}, t("versionNumber", { number })), ...(isCurrent ? [element("span", { class: "badge good" }, t("inUse"))] : []), element("span", { class: "note" }, createTime ? t("since", { time: momentOf(timestampDate(createTime)) }) : ""), element("code", { class: "note", title: sha256 }, sha256.slice(0, 8))),
      ...(this.#owns ? [element("div", { class: "row wrap acts" }, ...acts)] : []),
    );
  }

  /** Show what a version contains, or how it differs from an earlier one. */
  async #show(agent: string, name: string, earlier?: string): Promise<void> {
    try {
      const [now, before] = await Promise.all([name, earlier].map(async (one) => (one ? contentText((await this.#api.admin.getAgentVersion({ name: one })).content) : undefined)));
      const title = t(earlier ? "comparedTitle" : "versionTitle", { agent, number: numberOf(name), earlier: earlier ? numberOf(earlier) : "" });
      const lines = before === undefined ? (now ?? "").split("\n").map((line) => ` ${line}`) : structuredPatch("", "", before, now ?? "", "", "", { context: 2 }).hunks.flatMap((one, index) => [...(index > 0 ? [" ⋯"] : []), ...one.lines]);
      const about = before === undefined ? [] : [element("p", { class: "note" }, t(lines.length > 0 ? "newAndGone" : "sameContent"))];
      const hunks = element("div", { class: "hunks content", tabindex: "0", role: "region", "aria-label": title }, ...lines.filter((line) => !line.startsWith("\\")).map(lineRow));
      await shown(title, t("close"), [...about, ...(lines.length > 0 ? [hunks] : [])], hunks);
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
  const used = agents.length > 0 ? t("usedBy", { agents: new Intl.ListFormat(locale()).format(agents.map((one) => labelOf(all, one))) }) : t("unused");
  const wrong = problems.map(({ file, line, key, message }) => element("li", WRITTEN, element("code", {}, [[file, line > 0 && line].filter(Boolean).join(":"), key].filter(Boolean).join(": ")), ` ${message}`));
  return element(
    "li",
    { class: "wrapping" },
    element(
      "div",
      { class: "about" },
      element("strong", { class: "name", ...WRITTEN }, title || name.replace("tools/", "")),
      ...(wrong.length > 0 ? [element("span", { class: "badge warn" }, t("notAvailable"))] : []),
      element("p", { class: "whole clamped", title: description, ...WRITTEN }, description),
      element("p", { class: "note whole" }, [kind, EFFECTS[effect], used].filter(Boolean).join(" · ")),
      ...(wrong.length > 0 ? [element("ul", { class: "problems whole" }, ...wrong)] : []),
    ),
  );
}
