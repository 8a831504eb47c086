/** Shows administrators whether the agents' files are valid, and reloads the files. Also shows which other parts of the server have failed, such as models and tools. */

import { Health, type PartStatus } from "@responsa/contract/responsa/admin/v1/system_status_pb.js";
import type { AgentReload } from "@responsa/contract/responsa/admin/v1/admin_service_pb.js";
import { labelOf } from "../chat/agents.js";
import type { Api } from "../server/api.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";
import { count } from "../text/facts.js";

const PART = "agents";
const NAMES: Readonly<Record<string, string>> = { postgresql: "Database", redis: "Redis", embedding: "Embedding model", jobs: "Jobs", models: "Language models", tools: "Tools" };

export class AgentsPart {
  readonly root = element("section", { class: "part", "aria-labelledby": "agents-title" });
  readonly others = element("section", { class: "part", "aria-labelledby": "parts-title", hidden: true });
  readonly #api: Pick<Api, "admin">;
  readonly #say: (text: string) => void;
  readonly #state = element("div", {});
  readonly #failing = element("div", {});
  readonly #read = button("Read the files again", () => void this.#reload(), { class: "quiet" });
  #asked = 0;
  #reading = false;

  /** `reloads`: whether the user may reload the files. */
  constructor(api: Pick<Api, "admin">, say: (text: string) => void, reloads: boolean) {
    this.#api = api;
    this.#say = say;
    this.others.append(element("h3", { id: "parts-title" }, "Other parts of the server"), this.#failing);
    this.root.append(element("h3", { id: "agents-title" }, "Agents’ files"), this.#state, reloads ? this.#read : element("p", { class: "note" }, "Only owners of the installation can make the server read the files again after a change."));
  }

  async refresh(): Promise<void> {
    const asked = (this.#asked += 1);
    const [found, others] = await this.#api.admin.getSystemStatus({}).then(
      ({ parts }) => [stateOf(parts.find((one) => one.part === PART)), failing(parts)] as const,
      (error: unknown) => [element("p", { class: "problem" }, failureOf(error).message), []] as const,
    );
    if (asked !== this.#asked) return; // a newer result is already shown or will be shown
    replace(this.#state, found);
    replace(this.#failing, ...others.map((text) => element("p", { class: "warning lines", ...WRITTEN }, text)));
    this.others.hidden = others.length === 0;
  }

  async #reload(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true; // a disabled button would lose the focus
    try {
      const { agents } = await this.#api.admin.reloadAgents({});
      this.#asked += 1;
      const wrong = agents.filter((one) => one.problems.length > 0);
      const said = reloaded(agents);
      replace(this.#state, element("p", wrong.length > 0 ? { class: "warning" } : {}, said), ...wrong.map(problemsOf));
      this.#say(said);
    } catch (error) {
      replace(this.#state, element("p", { class: "problem", role: "alert" }, failureOf(error).message));
    } finally {
      this.#reading = false;
    }
  }
}

function stateOf(part: PartStatus | undefined): HTMLElement {
  if (!part || part.health === Health.OK) return element("p", { class: "note" }, part?.detail || "All files are valid.");
  return element("p", { class: "warning lines", ...WRITTEN }, `Some files are not valid: ${part.detail}`);
}

/** What is wrong with the other parts, a text for each part that has failed or is slow. */
export function failing(parts: readonly Pick<PartStatus, "part" | "health" | "detail">[]): readonly string[] {
  return parts.filter((one) => one.part !== PART && one.health !== Health.OK).map((one) => `${NAMES[one.part] ?? one.part}: ${one.detail || (one.health === Health.DOWN ? "no answer" : "slow")}`);
}

/** The result of a reload, in a sentence. */
export function reloaded(agents: readonly AgentReload[]): string {
  const changed = agents.filter((one) => one.changed);
  const wrong = agents.filter((one) => one.problems.length > 0);
  const news = changed.length === 0 ? "Nothing changed" : `Changed: ${ids(changed)}`;
  return wrong.length === 0 ? `${news}.` : `${news}; the files of ${count(wrong.length, "agent")} are not valid: ${ids(wrong)}.`;
}

function ids(agents: readonly AgentReload[]): string {
  return agents.map((one) => labelOf([], one.agent)).join(", ");
}

function problemsOf({ agent, version, problems }: AgentReload): HTMLElement {
  const serving = version ? `version ${version.split("/").at(-1)} stays in service` : "no version is in service";
  const rows = problems.map(({ file, line, key, message, suggestion }) => {
    const where = [file, line > 0 ? String(line) : ""].filter(Boolean).join(":");
    const meant = suggestion && ` (did you mean ${suggestion}?)`;
    return element("li", WRITTEN, element("code", {}, [where, key].filter(Boolean).join(": ")), ` ${message}${meant}`);
  });
  return element("div", {}, element("p", WRITTEN, `${labelOf([], agent)} (${serving}):`), element("ul", { class: "problems" }, ...rows));
}
