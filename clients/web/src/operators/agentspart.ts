/** Shows administrators whether the agents' files are valid, and reloads the files. */

import { Health, type PartStatus } from "@responsa/contract/responsa/admin/v1/system_status_pb.js";
import type { AgentReload } from "@responsa/contract/responsa/admin/v1/admin_service_pb.js";
import { labelOf } from "../chat/agents.js";
import { t } from "../language/operators/texts.js";
import type { Api } from "../server/api.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";

const PART = "agents";

export class AgentsPart {
  readonly root = element("section", { class: "row wrap between", "aria-label": t("partAgents") });
  readonly #api: Pick<Api, "admin">;
  readonly #say: (text: string) => void;
  readonly #state = element("div", {});
  readonly #read = button(t("readAgain"), () => void this.#reload(), { class: "quiet" });
  #asked = 0;
  #reading = false;

  /** `reloads`: whether the user may reload the files. */
  constructor(api: Pick<Api, "admin">, say: (text: string) => void, reloads: boolean) {
    this.#api = api;
    this.#say = say;
    this.root.append(this.#state, reloads ? this.#read : element("p", { class: "note" }, t("ownersReload")));
  }

  async refresh(): Promise<void> {
    const asked = (this.#asked += 1);
    const found = await this.#api.admin.getSystemStatus({}).then(
      ({ parts }) => stateOf(parts.find((one) => one.part === PART)),
      (error: unknown) => element("p", { class: "problem" }, failureOf(error).message),
    );
    if (asked !== this.#asked) return; // a newer result is already shown or will be shown
    replace(this.#state, found);
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
  if (!part || part.health === Health.OK) return element("p", { class: "note" }, part?.detail || t("filesValid"));
  return element("p", { class: "warning lines", ...WRITTEN }, t("filesInvalid", { detail: part.detail }));
}

/** The result of a reload, in a sentence. */
export function reloaded(agents: readonly AgentReload[]): string {
  const changed = agents.filter((one) => one.changed);
  const wrong = agents.filter((one) => one.problems.length > 0);
  const values = { agents: ids(changed), wrong: ids(wrong), count: wrong.length };
  return wrong.length > 0 ? t(changed.length > 0 ? "changedInvalid" : "nothingChangedInvalid", values) : t(changed.length > 0 ? "changed" : "nothingChanged", values);
}

function ids(agents: readonly AgentReload[]): string {
  return agents.map((one) => labelOf([], one.agent)).join(", ");
}

function problemsOf({ agent, version, problems }: AgentReload): HTMLElement {
  const rows = problems.map(({ file, line, key, message, suggestion }) => {
    const where = [file, line > 0 ? String(line) : ""].filter(Boolean).join(":");
    const meant = suggestion && ` (${t("didYouMean", { suggestion })})`;
    return element("li", WRITTEN, element("code", {}, [where, key].filter(Boolean).join(": ")), ` ${message}${meant}`);
  });
  return element("div", {}, element("p", WRITTEN, t(version ? "stays" : "noneInService", { agent: labelOf([], agent), number: version.split("/").at(-1) ?? "" })), element("ul", { class: "problems" }, ...rows));
}
